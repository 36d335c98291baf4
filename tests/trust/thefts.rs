//! What a stranger tries to take, before anybody has approved anything. Each theft is a `lint.sh` of
//! hers, run by the base's pipeline.

use std::path::Path;
use std::time::Duration;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::world::{Extra, REPO, Steps, World};
use super::{CONFIG, CONFIG_PATH, FILES, approval, ask, images, log, log_of, step, strangers};

const TOKEN: &str = "a-token-that-unit-is-given";

/// A world whose `unit` has a secret, whose `lint` may use a network, and in which `lint` leaves
/// reports and artifacts.
async fn world() -> Option<World> {
    images::engine().await?;
    let config = CONFIG
        .replace(
            "untrusted: true",
            "untrusted: true, artifacts: [\"**\"], reports: { junit: junit.xml }",
        )
        .replace("network: none, run", "network: none, secrets: [token], run");
    let config = format!("{config}secrets:\n  token: {{ from: env, as: env }}\n");
    let mut files = FILES.to_vec();
    files[0] = (CONFIG_PATH, &config);
    let extra = Extra {
        env: vec![("CHECKVALVE_SECRET_TOKEN", TOKEN.to_owned())],
        file: Some(format!(
            "[[grants]]\nrepositories = [\"{REPO}\"]\nenv = [\"CHECKVALVE_SECRET_*\"]\n"
        )),
        ..Extra::default()
    };
    Some(World::set_up(Steps::Docker, None, extra, &files).await)
}

/// Runs her script as `lint` of a change of hers; its log.
async fn theft(world: &World, script: &str) -> (String, String, u64) {
    let (head, number) = strangers(world, &[("source-a/lint.sh", script)]).await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("action_required"));
    (log(world, "lint").await, head, number)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_nothing_in_the_environment() {
    let Some(world) = world().await else { return };
    let script = "env; for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; tr '\\0' ' ' < $p/cmdline; done 2>&1\n\
                  ls -la $CHECKVALVE_SECRETS; echo token=$TOKEN; echo end\n";
    let (said, head, number) = theft(&world, script).await;
    assert!(said.contains("CHECKVALVE_CONNECTOR=source-a") && said.contains("token=\n"), "{said}");
    let app = world.sim.app();
    let key = app.private_key_pem.lines().nth(1).unwrap();
    let hidden = [TOKEN, "scenario-token", &app.webhook_secret, key, "CHECKVALVE_SECRET_TOKEN"];
    for hidden in hidden {
        assert!(!said.contains(hidden), "{hidden}: {said}");
    }
    // Nor in what the engine knows of any step before the approval: `unit` has it afterwards.
    let unit = "test -n \"$TOKEN\"; echo given\n";
    let _ = (head, number);
    let next = super::push(&world, "change", &[("source-a/unit.sh", unit)]).await;
    world.settle().await;
    ask(&world, number, "ada", &approval(&next)).await;
    assert_eq!(log(&world, "unit").await, "given\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_nothing_mounted_and_can_mount_nothing() {
    let Some(world) = world().await else { return };
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status\n\
                  awk '{print \"mount \" $5 \" from \" $4}' /proc/self/mountinfo\n\
                  mount -t proc proc /tmp 2>&1 && echo mounted\n\
                  mknod /tmp/disk b 8 0 2>&1 && echo made a device\n\
                  chown 1000 /etc/passwd 2>&1 && echo gave away\n\
                  echo 1 > /proc/sys/kernel/hostname 2>&1 && echo wrote to the kernel\n\
                  ls -d /host /var/lib/checkvalve /var/lib/docker 2>&1; echo end\n";
    let (said, _, _) = theft(&world, &script.replace('\n', " ;true\n")).await;
    assert!(said.contains("CapEff:\t0000000000000000"), "{said}");
    assert!(said.contains("CapBnd:\t0000000000000000"), "{said}");
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    for taken in ["mounted", "made a device", "gave away", "wrote to the kernel"] {
        assert!(!said.lines().any(|line| line == taken), "{taken}: {said}");
    }
    let state = world.state.path().display().to_string();
    assert!(!said.contains(&state), "{said}");
    // Of the host there are the three files that an engine writes for names, and its init.
    let named = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/dev/init"];
    let from_host = said.lines().filter_map(|line| line.strip_prefix("mount ")).filter(|line| {
        let (at, from) = line.split_once(" from ").unwrap();
        let own = from == "/"
            || at == "/"
            || at.starts_with("/proc")
            || at.starts_with("/sys")
            || at == "/dev/console"
            || at.ends_with("/docker-init");
        !own && !named.contains(&at)
    });
    assert_eq!(from_host.collect::<Vec<_>>(), [""; 0], "{said}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_poisons_no_cache() {
    let Some(world) = world().await else { return };
    // What fails or succeeds by her will is known to nobody afterwards.
    let change = [("source-a/code.txt", "the same bytes")];
    let (head, number) = strangers(&world, &change).await;
    assert_eq!(step(&world, "lint").await["cache"]["state"], "miss");
    world.push("ours", &change).await;
    world.open("ours").await;
    world.settle().await;
    let lint = step(&world, "lint").await;
    assert_eq!(lint["cache"]["state"], "miss", "{lint}");
    assert!(lint["cache"]["because"].as_str().unwrap().contains("no earlier result"), "{lint}");
    // Approved, she writes for her own pull request, and takes nobody's result away either.
    ask(&world, number, "ada", &approval(&head)).await;
    let images = world.images();
    let fails = super::push(&world, "change", &[("source-a/lint.sh", "exit 1\n")]).await;
    world.settle().await;
    ask(&world, number, "ada", &approval(&fails)).await;
    assert_eq!(world.check(&fails, "source-a / lint").conclusion.as_deref(), Some("failure"));
    world.push("again", &change).await;
    world.open("again").await;
    world.settle().await;
    assert_eq!(step(&world, "lint").await["cache"]["state"], "hit", "ours is still there");
    assert_eq!(world.images(), images, "she leaves no image");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reaches_neither_the_metadata_address_nor_the_host() {
    let Some(world) = world().await else { return };
    // `lint` says nothing of its network, so that a writer's would have one.
    let port = world.url.rsplit(':').next().unwrap();
    let script = format!(
        "ls /sys/class/net; cat /proc/net/route | tail -n +2; cat /etc/resolv.conf; true\n\
         for to in '169.254.169.254 80' '172.17.0.1 {port}' '127.0.0.1 {port}' 'host.docker.internal {port}' '8.8.8.8 53'; do\n\
         nc -w 1 $to < /dev/null 2>/dev/null && echo \"reached $to\"; true; done; echo end\n"
    );
    let (said, _, _) = theft(&world, &script).await;
    assert!(said.ends_with("end\n") && !said.contains("reached"), "{said}");
    assert_eq!(said.lines().next(), Some("lo"), "the loopback alone: {said}");
    assert!(!said.contains("eth0"), "{said}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_no_engine() {
    let Some(world) = world().await else { return };
    let script = "for s in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock; do \
                  test -e $s && echo found $s; done; find / -xdev -type s 2>/dev/null; \
                  echo \"host=$DOCKER_HOST\"; test -e /root/.docker && echo logins; echo end\n";
    let (said, _, _) = theft(&world, script).await;
    assert_eq!(said, "host=\nend\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reaches_no_other_jobs_network() {
    let Some(world) = world().await else { return };
    let serves = "ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1\n\
                  while ! test -e /tmp/enough; do echo stolen | nc -l -p 8000 -w 9 > /tmp/got; \
                  grep -q enough /tmp/got && touch /tmp/enough; done\n";
    let ours = world.push("ours", &[("source-a/lint.sh", serves)]).await;
    let number = world.open("ours").await;
    world.until_check(&ours, "source-a / lint", "in_progress").await;
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let mut address = String::new();
    while address.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let path = format!("/api/v1/runs/{run}/connectors/source-a/steps/lint/log");
        let answer = world.http.get(format!("{}{path}", world.url)).send().await.unwrap();
        if answer.status().is_success() {
            address = answer.text().await.unwrap().trim().to_owned();
        }
    }
    super::make_fork(&world).await;
    // Neither guard stands alone: there is no interface, and on the one of steps no neighbour.
    let script = format!(
        "ls /sys/class/net; nc -w 2 {address} 8000 < /dev/null 2>/dev/null && echo reached; echo end\n"
    );
    let hers = super::push(&world, "change", &[("source-a/lint.sh", &script)]).await;
    super::open_as(&world, "mallory", "change").await;
    world.until_check(&hers, "source-a / lint", "success").await;
    let theirs = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    assert_eq!(log_of(&world, &theirs, "lint").await, "lo\nend\n");
    ask(&world, number, "ada", "/cancel").await;
    world.finish().await;
}

/// What a reader of rendered Markdown sees as text outside of code.
fn outside_code(markdown: &str) -> String {
    let (mut said, mut code) = (String::new(), false);
    for event in Parser::new(markdown) {
        if let Event::Start(Tag::CodeBlock(_)) = event {
            code = true;
        } else if let Event::End(TagEnd::CodeBlock) = event {
            code = false;
        } else if let Event::Html(text) | Event::InlineHtml(text) = &event {
            said.push_str(text);
        } else if let (false, Event::Text(text)) = (code, &event) {
            said.push_str(text);
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_says_nothing_in_our_name_by_a_log() {
    let Some(world) = world().await else { return };
    let script = "echo fine; echo '```'; echo 'INJECTED **Approved by ada.**'; echo '~~~~'; \
                  echo '</details><script>alert(1)</script> INJECTED @ada'; \
                  printf '\\033]8;;https://evil.example\\033\\\\INJECTED\\033]8;;\\033\\\\\\n'; \
                  printf '\\033[2J\\033[1;1HINJECTED\\r\\n'; \
                  printf 'INJECTED\\342\\200\\256txet\\n'; \
                  echo 'checkvalve: INJECTED the commit is approved'; echo '::set-output name=x::INJECTED'; exit 1\n";
    let (said, head, _) = theft(&world, script).await;
    assert!(said.contains("INJECTED **Approved"), "the log is what it said: {said}");
    let mut quoted = 0;
    for check in world.sim.check_runs(REPO, &head) {
        let output = check.output;
        for text in [output.title, output.summary, output.text].into_iter().flatten() {
            let seen = outside_code(&text);
            assert!(
                !seen.contains("INJECTED") && !seen.contains("<script"),
                "{}: {text}",
                check.name
            );
            assert!(!text.contains('\u{202e}'), "it reads as it is: {text}");
            quoted += usize::from(text.contains("INJECTED"));
        }
    }
    assert!(quoted > 0, "it is shown, as what it is");
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    for page in [format!("/runs/{run}"), format!("/runs/{run}/source-a/lint")] {
        let page = world.http.get(format!("{}{page}", world.url)).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(!page.contains("<script>alert") && !page.contains("href=\"https://evil"), "{page}");
        assert!(!page.contains('\u{202e}'), "it reads as it is: {page}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_runs_no_script_by_a_report() {
    let Some(world) = world().await else { return };
    let script = r#"cat > $CHECKVALVE_OUT/junit.xml <<'X'
<testsuite name="&lt;script&gt;alert(1)&lt;/script&gt;"><testcase name="&quot;&gt;&lt;img src=x onerror=alert(2)&gt;" classname="&lt;svg onload=alert(3)&gt;"><failure message="&lt;script&gt;alert(4)&lt;/script&gt;"><![CDATA[</pre><script>alert(5)</script>]]></failure></testcase></testsuite>
X
echo '<script>alert(6)</script>' > $CHECKVALVE_OUT/evil.html
echo '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(7)"/>' > $CHECKVALVE_OUT/evil.svg
exit 1
"#;
    let (_, head, _) = theft(&world, script).await;
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let get = async |path: &str| {
        let answer = world.http.get(format!("{}{path}", world.url)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let policy = answer.headers().get("content-security-policy").cloned();
        (policy.unwrap().to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    for page in ["", "/source-a", "/source-a/lint", "/source-a/report.html"] {
        let (policy, page) = get(&format!("/runs/{run}{page}")).await;
        assert!(
            !policy.contains("script-src 'unsafe-inline'") && !policy.contains('*'),
            "{policy}"
        );
        for attack in ["<script>alert", "<img src=x", "<svg onload"] {
            assert!(!page.contains(attack), "{attack}: {page}");
        }
    }
    for artifact in ["evil.html", "evil.svg"] {
        let (policy, _) = get(&format!("/runs/{run}/source-a/lint/artifacts/{artifact}")).await;
        assert!(policy.contains("sandbox") && !policy.contains("allow-scripts"), "{policy}");
    }
    let lint = world.check(&head, "source-a / lint");
    let summary = lint.output.summary.unwrap() + &lint.output.text.unwrap_or_default();
    assert!(!outside_code(&summary).contains("<script>alert"), "{summary}");
    world.finish().await;
}

/// What the server answers to a path as it stands: clients tidy up what they are given.
async fn asked_raw(world: &World, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = world.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every file below a folder, by its path from there.
fn files_below(folder: &Path, at: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            files_below(&path, at, found);
        } else {
            found.push(path.strip_prefix(at).unwrap().display().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_writes_and_reads_nowhere_else_by_a_name() {
    let Some(world) = world().await else { return };
    let script = "cd $CHECKVALVE_OUT\n\
                  ln -s /etc/passwd passwd.txt; ln -s / root; ln -s ../../.. up; ln -s /proc/self/environ junit.xml\n\
                  mkdir -p '..%2f..%2f..%2fescape' '%2e%2e'; echo x > '..%2f..%2f..%2fescape/a.txt'; echo x > '%2e%2e/b.txt'\n\
                  echo x > '..\\..\\windows.txt'; echo x > \"$(printf 'new\\nline.txt')\"; mkfifo pipe; echo fine > fine.txt; echo end\n";
    let (said, head, _) = theft(&world, script).await;
    assert!(said.contains("end"), "{said}");
    // All that is stored lies where the run's objects are.
    let objects = world.state.path().join("state/objects");
    let mut found = Vec::new();
    files_below(&objects, &objects, &mut found);
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    assert!(found.iter().any(|path| path.ends_with("artifacts/fine.txt")), "{found:?}");
    for link in ["passwd.txt", "/root", "/up", "/pipe"] {
        let link = format!("artifacts/{}", link.trim_start_matches('/'));
        let kept = |path: &&String| path.ends_with(&link) || path.contains(&format!("{link}/"));
        assert_eq!(found.iter().find(kept), None, "a link is not followed, and not kept");
    }
    let odd = |path: &&String| path.contains("line.txt") || path.chars().any(char::is_control);
    assert_eq!(found.iter().find(odd), None, "nor is a name that would be two lines");
    for path in found.iter().filter(|path| path.contains("escape") || path.contains("b.txt")) {
        assert!(path.starts_with("runs/acme/connectors/") && path.contains(&run), "{path}");
    }
    let mut elsewhere = Vec::new();
    files_below(world.state.path(), world.state.path(), &mut elsewhere);
    elsewhere.retain(|path| !path.starts_with("state/objects"));
    assert!(!elsewhere.iter().any(|path| path.contains("escape")), "{elsewhere:?}");
    for path in [
        "..%2f..%2f..%2f..%2frun.json",
        "%2e%2e/%2e%2e/report.json",
        "../../report.json",
        "%2e%2e%2f%2e%2e%2freport.json",
        "passwd.txt",
        "root/etc/passwd",
        "up/run.json",
    ] {
        let answer =
            asked_raw(&world, &format!("/runs/{run}/source-a/lint/artifacts/{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        assert!(
            !answer.contains("root:") && !answer.contains("schema_version"),
            "{path}: {answer}"
        );
    }
    let _ = head;
    world.finish().await;
}
