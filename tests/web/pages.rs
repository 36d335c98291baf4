//! Pages, for runs of every state, with names that would like to be markup.

use checkvalve::domain::cache::{CacheFacts, CacheState};
use checkvalve::domain::objects;
use checkvalve::domain::run::{
    Artifact, LogRef, Problem, ProblemKind, Segment, StepFacts, StepRecord, TestFailure, Tests,
};
use checkvalve::domain::state::{Conclusion, Outcome, SkipReason, StepState};

use super::house::{House, Plot, TOKEN, Tale, ago, finished, running, step_id};

const HOSTILE: &str = "source \"<script>alert('x')<script>\" ünï & %2F";

fn hostile() -> Tale {
    Tale { connectors: vec![HOSTILE, "source-faker"], ..Tale::default() }
}

/// No page may hold what a name brought along.
fn assert_tame(page: &str) {
    for bad in ["<script>alert", "<b>", "<i>", "octo<cat>", "style=\"", "onclick"] {
        assert!(!page.contains(bad), "{bad} in {page}");
    }
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("<html lang=\"en\">"));
}

fn path_of(connector: &str) -> String {
    objects::segment(connector)
}

#[tokio::test]
async fn an_empty_house_says_what_to_do() {
    let house = House::open().await;
    let page = house.page("/").await;
    assert_tame(&page);
    assert!(page.contains("No repository has been seen yet."));
    assert!(page.contains("Nothing waits or runs."));
}

#[tokio::test]
async fn every_page_carries_the_headers_that_keep_it_safe() {
    let house = House::open().await;
    for path in ["/", "/nothing/here", "/api/v1/queue", "/metrics", "/healthz"] {
        let answer = house.get(path).await;
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
        assert_eq!(
            header("content-security-policy"),
            Some(
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                 connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
            ),
            "{path}"
        );
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        assert_eq!(header("x-frame-options"), Some("DENY"));
        assert_eq!(header("referrer-policy"), Some("same-origin"));
    }
}

#[tokio::test]
async fn pages_show_a_run_from_its_making_to_its_end() {
    let house = House::open().await;
    let tale = hostile();
    let id = house.make(&tale).await;
    let page = house.page(&format!("/runs/{id}")).await;
    assert_tame(&page);
    assert!(page.contains("Being planned"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains(&format!("data-events=\"/api/v1/runs/{id}/events?after=")));

    let lease =
        house.store.claim_planning(house.worker, super::house::TERM).await.unwrap().unwrap();
    house.store.settle_planning(lease, tale.planned()).await.unwrap();
    let page = house.page(&format!("/runs/{id}")).await;
    assert_tame(&page);
    assert!(page.contains("waiting"));
    assert!(page.contains("</code> → used by <code>lib-shared</code>"), "{page}");
    assert!(page.contains("&lt;b&gt;python&lt;/b&gt; · certified"), "{page}");
    assert!(page.contains("comment <code>/cancel</code>"));

    let (lease, run, job) = house.claim().await;
    let base = format!("/runs/{id}/{}", path_of(job.connector.as_str()));
    house.store.record(&lease, &[running("install")]).await.unwrap();
    for path in [format!("/runs/{id}"), base.clone(), format!("{base}/install")] {
        let page = house.page(&path).await;
        assert_tame(&page);
        assert!(page.contains("running"), "{path}");
    }

    let steps = ended_steps(&run, &job);
    house.store.settle_job(lease, &steps, Conclusion::Failure).await.unwrap();
    for step in ["install", "lint", "unit", "publish%20%3Ci%3E"] {
        assert_tame(&house.page(&format!("{base}/{step}")).await);
    }
    let page = house.page(&format!("{base}/unit")).await;
    assert!(page.contains("test_&lt;b&gt;bold&lt;/b&gt;"), "{page}");
    assert!(page.contains("out/a%20%3Cb%3E.txt?attempt=1"), "{page}");
    let page = house.page(&format!("{base}/publish%20%3Ci%3E")).await;
    assert!(page.contains("not run"), "{page}");
    let page = house.page(&base).await;
    assert_tame(&page);
    assert!(page.contains("report.html") && page.contains("1 failed"), "{page}");
}

fn ended_steps(
    run: &checkvalve::domain::run::Run,
    job: &checkvalve::domain::run::Job,
) -> Vec<StepRecord> {
    let prefix = objects::job_prefix(run, &job.connector);
    let failure = TestFailure {
        name: "test_<b>bold</b>".to_owned(),
        message: "assert 1 == 2 <script>alert(2)</script>".to_owned(),
        file: Some("tests/test_<i>.py".to_owned()),
        line: Some(7),
    };
    let facts = StepFacts {
        reason: Some("exit code 1 <b>".to_owned()),
        exit_code: Some(1),
        image_digest: Some("sha256:<b>".to_owned()),
        log: Some(LogRef { key: format!("{prefix}/unit/1/log.txt"), bytes: 3, lines: 1, cut: 9 }),
        tests: Some(Tests { passed: 4, failed: 1, skipped: 2, failures: vec![failure] }),
        artifacts: vec![Artifact {
            path: "out/a <b>.txt".to_owned(),
            key: format!("{prefix}/unit/1/artifacts/out/a%20%3Cb%3E.txt"),
            bytes: 12,
        }],
        cache: Some(CacheFacts {
            state: CacheState::Miss,
            key: Some("k<b>".to_owned()),
            because: "variable `<script>alert(9)</script>` is new".to_owned(),
        }),
        segments: vec![Segment {
            name: "pull <b>".to_owned(),
            started_at: ago(30),
            finished_at: ago(25),
        }],
        ..StepFacts::default()
    };
    let unit = StepRecord { facts, ..finished("unit", Outcome::Failed) };
    let skipped =
        StepState::Skipped { at: ago(1), reason: SkipReason::Needs { step: step_id("unit") } };
    let publish = StepRecord { state: skipped, ..running("publish <i>") };
    vec![finished("install", Outcome::Succeeded), finished("lint", Outcome::Errored), unit, publish]
}

#[tokio::test]
async fn a_problem_is_shown_with_its_place_and_mend() {
    let house = House::open().await;
    let problem = Problem {
        kind: ProblemKind::Configuration,
        title: "`.github/checkvalve.yml` has <b>an unknown key</b>".to_owned(),
        text: "line 4: `stepz`; did you mean `steps`? <script>alert(3)</script>".to_owned(),
        place: Some((".github/checkvalve.yml".to_owned(), 4)),
    };
    let tale = Tale { problem: Some((Conclusion::Failure, problem)), ..Tale::default() };
    let id = house.make(&tale).await;
    for path in [format!("/runs/{id}"), "/r/acme/connectors/pull/12".to_owned()] {
        let page = house.page(&path).await;
        assert_tame(&page);
        assert!(page.contains(".github/checkvalve.yml:4"), "{page}");
        assert!(page.contains("did you mean `steps`?"));
        assert!(page.contains("/retest"));
    }
}

#[tokio::test]
async fn lists_lead_from_the_repository_to_the_step() {
    let house = House::open().await;
    let id = house.planned(&hostile()).await;
    let home = house.page("/").await;
    assert_tame(&home);
    assert!(home.contains(&format!("{}/r/acme/connectors\"", house.base)));
    assert!(home.contains(&format!("/runs/{id}")));
    assert!(home.contains("<strong>2</strong> waiting"), "{home}");
    let repository = house.page("/r/acme/connectors").await;
    assert_tame(&repository);
    assert!(repository.contains("/r/acme/connectors/pull/12"));
    let pull = house.page("/r/acme/connectors/pull/12").await;
    assert_tame(&pull);
    assert!(pull.contains(&format!("/runs/{id}/{}/unit", path_of(HOSTILE))), "{pull}");
    // GitHub compares names without case; whatever we were sent is what we know.
    assert_eq!(house.get("/r/acme/other").await.status(), 404);
    assert_eq!(house.get("/r/acme/connectors/pull/13").await.status(), 404);
}

#[tokio::test]
async fn what_does_not_exist_is_a_page_that_helps() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    for path in [
        "/nowhere".to_owned(),
        "/runs/run_1".to_owned(),
        "/runs/job_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        "/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        format!("/runs/{id}/source-other"),
        format!("/runs/{id}/a%2Fb"),
        format!("/runs/{id}/%ff"),
        format!("/runs/{id}/.."),
        format!("/runs/{id}/source-faker/nothing"),
        format!("/runs/{id}/source-faker/unit?attempt=2"),
        format!("/runs/{id}/source-faker/unit?attempt=0"),
        "/r/acme/%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        "/assets/style.css".to_owned(),
    ] {
        let answer = house.get(&path).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        let page = answer.text().await.unwrap();
        assert_tame(&page);
        assert!(page.contains("All repositories and recent runs"), "{path}");
    }
    let answer = house.get(&format!("/runs/{id}/source-faker/unit?attempt=two")).await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn private_repositories_do_not_exist_without_the_token() {
    let house = House::open().await;
    let tale = Tale { private: true, repository: "acme/hidden", ..Tale::default() };
    let id = house.planned(&tale).await;
    let paths = [
        "/r/acme/hidden".to_owned(),
        "/r/acme/hidden/pull/12".to_owned(),
        "/r/acme/hidden/connectors/source-faker/badge.json".to_owned(),
        format!("/runs/{id}"),
        format!("/runs/{id}/source-faker"),
        format!("/runs/{id}/source-faker/unit"),
        format!("/runs/{id}/source-faker/report.html"),
        format!("/runs/{id}/source-faker/unit/artifacts/a.txt"),
        format!("/api/v1/runs/{id}"),
        format!("/api/v1/runs/{id}/events"),
        format!("/api/v1/runs/{id}/connectors/source-faker/steps/unit/log"),
    ];
    for path in &paths {
        for token in [None, Some("wrong"), Some("")] {
            let mut request = house.request(reqwest::Method::GET, path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path} {token:?}");
            assert!(!answer.text().await.unwrap().contains("source-faker left"));
        }
    }
    for path in ["/", "/api/v1/runs", "/api/v1/runs?repo=acme/hidden"] {
        let page = house.page(path).await;
        assert!(!page.contains("hidden") && !page.contains(&id.to_string()), "{path}: {page}");
        let request = house.request(reqwest::Method::GET, path).bearer_auth(TOKEN);
        let page = request.send().await.unwrap().text().await.unwrap();
        assert!(page.contains(&id.to_string()), "{path}: {page}");
    }
    for path in [&paths[0], &paths[3], &paths[8]] {
        let request = house.request(reqwest::Method::GET, path).bearer_auth(TOKEN);
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    // The same words for what is hidden and what is not there.
    let hidden = house.get(&format!("/api/v1/runs/{id}")).await.text().await.unwrap();
    let other = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let absent = house.get(&format!("/api/v1/runs/{other}")).await.text().await.unwrap();
    assert_eq!(hidden.replace(&id.to_string(), other), absent);
}

#[tokio::test]
async fn without_a_configured_token_no_token_opens_anything() {
    let house = House::on(Plot { api_token: false, ..Plot::default() }).await;
    let tale = Tale { private: true, repository: "acme/hidden", ..Tale::default() };
    let id = house.planned(&tale).await;
    for token in ["", TOKEN] {
        let request = house.request(reqwest::Method::GET, &format!("/runs/{id}"));
        assert_eq!(request.bearer_auth(token).send().await.unwrap().status(), 404);
        let request = house.request(reqwest::Method::POST, &format!("/api/v1/runs/{id}/cancel"));
        assert_eq!(request.bearer_auth(token).send().await.unwrap().status(), 403);
    }
}

#[tokio::test]
async fn assets_are_named_by_content_and_kept_for_ever() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let page = house.page(&format!("/runs/{id}")).await;
    let names: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(names.len(), 2, "{page}");
    for name in names {
        let request = house.request(reqwest::Method::GET, name).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header("content-encoding"), "gzip");
        let kind = if name.contains("/style.") { "text/css" } else { "text/javascript" };
        assert!(header("content-type").starts_with(kind));
    }
}
