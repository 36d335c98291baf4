//! What is asked for again and again costs nothing where nothing has changed.

use checkvalve::domain::names::RepoName;
use checkvalve::domain::run::Repository;
use checkvalve::github::{Content, Github};
use github_simulator::{Change, Commit, Config, RepositoryOptions, Simulator};

use super::{REPOSITORY, contract, settings};

/// How the calls of this path were answered, in their order.
fn answered(simulator: &Simulator, path: &str) -> Vec<u16> {
    let calls = simulator.calls().into_iter().filter(|call| call.path.ends_with(path));
    calls.map(|call| call.status).collect()
}

async fn write(simulator: &Simulator, text: &str) {
    let change = vec![("policy.yml".to_owned(), Change::Write(text.as_bytes().to_vec()))];
    simulator.commit(REPOSITORY, "main", Commit::new("A change", "ada", change)).await.unwrap();
}

#[tokio::test]
async fn lists_and_files_that_have_not_changed_are_answered_304_and_say_the_same() {
    let config = Config { contract: contract(), ..Config::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let made = simulator.create_repository(REPOSITORY, RepositoryOptions::default()).await.unwrap();
    write(&simulator, "one").await;
    let app = simulator.app();
    let github =
        Github::new(settings(&simulator.api_url(), &app.id.to_string(), &app.private_key_pem))
            .unwrap();
    let (id, installation) = (made.id, made.installation_id);
    let name: RepoName = REPOSITORY.parse().unwrap();
    let repository = Repository { id, name: name.clone(), installation, private: false };

    for _ in 0..2 {
        assert_eq!(github.installations().await.unwrap(), [installation]);
        let given = github.repositories(installation).await.unwrap();
        assert_eq!(given.iter().map(|one| &one.name).collect::<Vec<_>>(), [&name]);
        assert_eq!(github.delivery_log(None).await.unwrap().attempts, []);
        let content = github.content(&repository, "policy.yml", true).await.unwrap();
        assert_eq!(content, Content::File(b"one".to_vec()));
    }
    for path in
        ["/app/installations", "/installation/repositories", "/app/hook/deliveries", "/policy.yml"]
    {
        assert_eq!(answered(&simulator, path), [200, 304], "{path}");
    }

    // What has changed is told.
    simulator.create_repository("acme/others", RepositoryOptions::default()).await.unwrap();
    write(&simulator, "two").await;
    assert_eq!(github.repositories(installation).await.unwrap().len(), 2);
    let content = github.content(&repository, "policy.yml", true).await.unwrap();
    assert_eq!(content, Content::File(b"two".to_vec()));
    assert_eq!(answered(&simulator, "/installation/repositories"), [200, 304, 200]);
    assert_eq!(answered(&simulator, "/policy.yml"), [200, 304, 200]);
    let ours = |violation: &String| !violation.starts_with("answer ");
    let violations = simulator.violations().into_iter().filter(ours).collect::<Vec<_>>();
    assert_eq!(violations, Vec::<String>::new());
    simulator.stop().await;
}
