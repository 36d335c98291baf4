//! Against a simulated Enterprise Server behind a private authority.

use checkvalve::github::Github;
use github_simulator::{Call, Config, RepositoryOptions, Simulator};

use super::https::Https;
use super::settings;

/// Its own authority, links under its own address, no word of limits.
#[tokio::test]
async fn an_enterprise_server_is_read_page_after_page() {
    let Some(https) = Https::new().await else { return };
    let simulator = Simulator::start(Config::default()).await.unwrap();
    https.lead_to(&simulator.url());
    simulator.known_as(&https.url);
    simulator.enterprise_server(Some("3.13")).unwrap();
    let mut made = 0;
    for n in 0..101 {
        let name = format!("acme/source-{n}");
        let options = RepositoryOptions::default();
        made = simulator.create_repository(&name, options).await.unwrap().installation_id;
    }
    let app = simulator.app();
    let mut settings = settings(&simulator.api_url(), &app.id.to_string(), &app.private_key_pem);
    settings.ca_file = Some(https.ca_file.clone());
    let github = Github::new(settings).unwrap();
    assert_eq!(github.repositories(made).await.unwrap().len(), 101);
    let pages = |call: &Call| call.path == "/installation/repositories";
    assert_eq!(simulator.calls().iter().filter(|call| pages(call)).count(), 2);
    assert_eq!(github.rate(made), None, "unknown, and not zero");
    github.token(made).await.unwrap();
}
