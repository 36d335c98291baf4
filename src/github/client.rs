//! The client: who asks, how often, how long.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use moka::future::Cache;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::answers::{Call, Setback, judge, silent};
use super::app::{App, Renewal, Token, clock_is_to_blame};
use super::contents::Content;
use super::error::GithubError;
use super::points::{Ledger, NoLeave, Points};
use super::polled::{Polled, is_polled};
use super::rates::{Rate, Rates, Silence};
use super::register::VERSION_HEADER;
use super::transport::{Answer, Transport};
use super::wire;
use crate::ambient;
use crate::domain::policy::Permission;

/// For a call with all of its attempts. A listing is one call a page.
const DEADLINE: Duration = Duration::from_secs(20);
/// Against a server whose pages never end; a hundred items each.
const PAGES: usize = 1000;
/// Far more than an App of one organization has.
const CACHED_TOKENS: u64 = 10_000;
const CACHED_PERMISSIONS: u64 = 10_000;
/// Of at most a megabyte each, of repositories in which somebody asks for something.
const CACHED_CONTENTS: u64 = 100;
/// A permission taken away holds at most this much longer.
const PERMISSION_LIVES: Duration = Duration::from_mins(1);

/// Where GitHub is and who we are.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// `https://api.github.com`, or `https://HOST/api/v3`.
    pub api_url: String,
    /// The App's id, or its client id.
    pub app_id: String,
    /// RSA, PEM.
    pub private_key: SecretString,
    /// More CAs to trust, PEM.
    pub ca_file: Option<PathBuf>,
}

/// GitHub, as the App sees it. Make one and share it: it holds the connections, the tokens and what
/// is known of the rate limits.
#[derive(Debug)]
pub struct Github {
    transport: Transport,
    app: App,
    ourselves: OnceCell<wire::App>,
    tokens: Cache<u64, Arc<Token>>,
    rates: Rates,
    points: Points,
    /// Some answer came from an Enterprise Server.
    pub(super) enterprise: AtomicBool,
    pub(super) permissions: Cache<(u64, String), Permission>,
    /// Files of default branches.
    pub(super) contents: Cache<(u64, String), Content>,
    pub(super) polled: Polled,
}

impl Github {
    /// Checks the settings; GitHub is not asked yet. Must be called within a Tokio runtime.
    pub fn new(settings: GithubSettings) -> Result<Self, GithubError> {
        let GithubSettings { api_url, app_id, private_key, ca_file } = settings;
        Ok(Self {
            transport: Transport::new(&api_url, ca_file.as_deref())?,
            app: App::new(app_id.trim().to_owned(), &private_key)?,
            ourselves: OnceCell::new(),
            tokens: Cache::builder().max_capacity(CACHED_TOKENS).expire_after(Renewal).build(),
            rates: Rates::default(),
            points: Points::default(),
            enterprise: AtomicBool::new(false),
            permissions: Cache::builder()
                .max_capacity(CACHED_PERMISSIONS)
                .time_to_live(PERMISSION_LIVES)
                .build(),
            contents: Cache::builder()
                .max_capacity(CACHED_CONTENTS)
                .time_to_live(PERMISSION_LIVES)
                .build(),
            polled: Polled::default(),
        })
    }

    /// The same, staying with all others that share this ledger within GitHub's limits of requests.
    #[must_use]
    pub fn sharing(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.points = Points::of(ledger, !self.transport.is_public());
        self
    }

    /// The installation's token: for git over HTTPS, and for our own calls. Cached until five
    /// minutes before it ends; however many ask at once, one is minted.
    pub async fn token(&self, installation: u64) -> Result<SecretString, GithubError> {
        Ok(self.installation_token(installation).await?.secret.clone())
    }

    /// The App's numeric id, which check runs carry; asked once.
    pub async fn app_id(&self) -> Result<u64, GithubError> {
        Ok(self.ourselves().await?.id)
    }

    /// The account under which the App comments and presses, `<slug>[bot]`; asked once.
    pub async fn login(&self) -> Result<String, GithubError> {
        Ok(format!("{}[bot]", self.ourselves().await?.slug))
    }

    async fn ourselves(&self) -> Result<&wire::App, GithubError> {
        let ask = || async {
            let call = Call::get("read the App", "/app".to_owned());
            call.read(&self.as_app(&call).await?)
        };
        self.ourselves.get_or_try_init(ask).await
    }

    /// The installation's rate limit, as GitHub's last answer told it.
    pub fn rate(&self, installation: u64) -> Option<Rate> {
        self.rates.rate(Some(installation))
    }

    /// Installations (`None`: the App itself) that have less than half left of what they may ask in an
    /// hour, as far as that is known, or that wait for points.
    pub fn short_of_room(&self) -> Vec<Option<u64>> {
        let mut short = self.rates.short(ambient::now());
        short.extend(self.points.short());
        short
    }

    /// Installations that wait for points: seconds, until there are more.
    pub fn short_of_points(&self) -> Vec<u64> {
        self.points.short().into_iter().flatten().collect()
    }

    /// Installations whose limits an answer said to be exceeded, until
    /// [`Github::passed_on`] is called: what another process has to know.
    pub fn silences(&self) -> Vec<Silence> {
        self.rates.news()
    }

    pub fn passed_on(&self, installation: u64) {
        self.rates.passed_on(installation);
    }

    /// Another process was told to wait: nothing is asked here either until then.
    pub fn keep_silent(&self, silence: Silence) {
        self.rates.close(silence);
    }

    async fn installation_token(&self, installation: u64) -> Result<Arc<Token>, GithubError> {
        self.tokens
            .try_get_with(installation, self.mint(installation))
            .await
            .map_err(|error| (*error).clone())
    }

    async fn mint(&self, installation: u64) -> Result<Arc<Token>, GithubError> {
        #[derive(Deserialize)]
        struct Minted {
            token: String,
            expires_at: chrono::DateTime<chrono::FixedOffset>,
        }
        let path = format!("/app/installations/{installation}/access_tokens");
        // A token too many does no harm, so it may be sent twice.
        let call = Call::set("get an installation's token", http::Method::POST, path, json!({}));
        let call = call.at_once();
        let answer = self.as_app(&call).await.map_err(|error| {
            let suspended = matches!(
                &error,
                GithubError::Refused { status: 403, message, .. } if message.contains("suspended")
            );
            if suspended {
                GithubError::Suspended { installation }
            } else if matches!(error, GithubError::NotFound { .. }) {
                // Of what was to be asked for with the token it says nothing.
                GithubError::NotInstalled { installation }
            } else {
                error
            }
        })?;
        let minted: Minted = call.read(&answer)?;
        // Both times are GitHub's, so that a wrong clock here does not matter.
        let now = answer.date().unwrap_or_else(|| ambient::now().as_millis());
        let lifetime = u64::try_from(minted.expires_at.timestamp_millis() - now).unwrap_or(0);
        Ok(Arc::new(Token::new(minted.token.into(), Duration::from_millis(lifetime))))
    }

    /// Calls as the installation and reads the answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        installation: u64,
        call: &Call,
    ) -> Result<T, GithubError> {
        call.read(&self.as_installation(installation, call).await?)
    }

    /// Calls as the App, with a JWT.
    pub(super) async fn as_app(&self, call: &Call) -> Result<Answer, GithubError> {
        timeout(DEADLINE, self.attempts_as_app(call)).await.unwrap_or_else(|_| Err(too_long(call)))
    }

    /// Calls as an installation, with its token.
    pub(super) async fn as_installation(
        &self,
        installation: u64,
        call: &Call,
    ) -> Result<Answer, GithubError> {
        timeout(DEADLINE, self.attempts_as_installation(installation, call))
            .await
            .unwrap_or_else(|_| Err(too_long(call)))
    }

    async fn attempts_as_app(&self, call: &Call) -> Result<Answer, GithubError> {
        let mut patience = Patience::new();
        let mut corrected = false;
        loop {
            let jwt = self.app.jwt()?;
            match self.attempt(None, call, &jwt).await {
                Ok(answer) => return Ok(answer),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Passing(error)) => patience.pause(error).await?,
                Err(Setback::Unauthorized { message, date: Some(date) })
                    if clock_is_to_blame(&message) && !corrected =>
                {
                    corrected = true;
                    self.app.set_clock(date);
                }
                Err(Setback::Unauthorized { message, .. }) => {
                    return Err(GithubError::Unauthorized { call: call.name, message });
                }
            }
        }
    }

    async fn attempts_as_installation(
        &self,
        installation: u64,
        call: &Call,
    ) -> Result<Answer, GithubError> {
        let mut patience = Patience::new();
        let mut replaced = false;
        let mut waits_for_replication = 3;
        loop {
            let token = self.installation_token(installation).await?;
            match self.attempt(Some(installation), call, &token.secret).await {
                Ok(answer) => return Ok(answer),
                Err(Setback::Final(error)) => {
                    // A token has the permissions that there were when it was minted.
                    if matches!(error, GithubError::Permission { .. }) {
                        self.forget(installation, &token).await;
                    }
                    return Err(error);
                }
                Err(Setback::Passing(error)) => patience.pause(error).await?,
                Err(Setback::Unauthorized { .. })
                    if token.may_be_too_fresh() && waits_for_replication > 0 =>
                {
                    waits_for_replication -= 1;
                    sleep(Duration::from_secs(1)).await;
                }
                Err(Setback::Unauthorized { .. }) if !replaced => {
                    replaced = true;
                    self.forget(installation, &token).await;
                }
                Err(Setback::Unauthorized { message, .. }) => {
                    self.forget(installation, &token).await;
                    return Err(GithubError::Unauthorized { call: call.name, message });
                }
            }
        }
    }

    /// Drops a token that was refused, unless somebody has already replaced it.
    async fn forget(&self, installation: u64, token: &Arc<Token>) {
        let cached = self.tokens.get(&installation).await;
        if cached.is_some_and(|cached| Arc::ptr_eq(&cached, token)) {
            self.tokens.invalidate(&installation).await;
        }
    }

    async fn attempt(
        &self,
        who: Option<u64>,
        call: &Call,
        bearer: &SecretString,
    ) -> Result<Answer, Setback> {
        self.may_ask(who, call)?;
        if let Some(cost) = call.cost(who) {
            self.points.take(who, cost).await.map_err(|no| no_leave(call, no))?;
            // Perhaps it was told to wait meanwhile.
            self.may_ask(who, call)?;
        }
        let sent = self.transport.send(&call.request, Some(bearer)).await;
        let result = match sent {
            Ok(answer) => {
                let of_server = answer.header(VERSION_HEADER).is_some();
                if of_server {
                    self.enterprise.store(true, Ordering::Relaxed);
                }
                // Another answer may be of something that stands in between.
                if of_server || answer.status.is_success() {
                    self.points.heard(who, answer.header("x-ratelimit-limit").is_some());
                }
                judge(call, who, answer, &self.rates)
            }
            Err(silence) => Err(silent(call, silence)),
        };
        let method = &call.request.method;
        match &result {
            Ok(answer) => {
                tracing::debug!(%method, uri = call.request.uri, status = answer.status.as_u16());
            }
            Err(setback) => tracing::debug!(%method, uri = call.request.uri, ?setback),
        }
        result
    }

    fn may_ask(&self, who: Option<u64>, call: &Call) -> Result<(), Setback> {
        match self.rates.closed(who) {
            Some(wait) => Err(Setback::Final(GithubError::RateLimited { call: call.name, wait })),
            None => Ok(()),
        }
    }

    /// Reads a listing page after page along GitHub's own `next` links, until the end or until
    /// `take` has what it wants (`false`). A page that can't be had is an error: a cut listing would
    /// say "nothing there".
    pub(super) async fn pages<P: DeserializeOwned>(
        &self,
        who: Option<u64>,
        name: &'static str,
        uri: String,
        mut take: impl FnMut(P) -> Result<bool, GithubError>,
    ) -> Result<(), GithubError> {
        let refused = |message: String| GithubError::Refused { call: name, status: 200, message };
        let polled = is_polled(&uri);
        let mut call = Call::get(name, uri);
        for _ in 0..PAGES {
            let answer = match who {
                _ if polled => self.poll(who, &call).await?,
                Some(installation) => self.as_installation(installation, &call).await?,
                None => self.as_app(&call).await?,
            };
            if !take(call.read(&answer)?)? {
                return Ok(());
            }
            let Some(next) = self.next_page(&call, &answer)? else { return Ok(()) };
            call = Call::get(name, next);
        }
        Err(refused(format!("the list has more than {PAGES} pages")))
    }

    /// A link of GitHub's that was kept, if it still leads to the API's host: no other is to see our
    /// credentials.
    pub(super) fn within(&self, link: &str) -> Option<String> {
        self.transport.within(link)
    }

    /// GitHub's own link to what comes after an answer, if there is more.
    pub(super) fn next_page(
        &self,
        call: &Call,
        answer: &Answer,
    ) -> Result<Option<String>, GithubError> {
        let Some(next) = answer.header("link").and_then(next_link) else { return Ok(None) };
        match self.transport.within(next) {
            Some(next) => Ok(Some(next)),
            None => Err(GithubError::Refused {
                call: call.name,
                status: 200,
                message: format!("its next page `{next}` is not at CHECKVALVE_GITHUB_API_URL"),
            }),
        }
    }
}

fn no_leave(call: &Call, no: NoLeave) -> Setback {
    let call = call.name;
    Setback::Final(match no {
        NoLeave::After(wait) => GithubError::RateLimited { call, wait },
        NoLeave::Unknown(why) => GithubError::Unavailable { call, why },
    })
}

fn too_long(call: &Call) -> GithubError {
    call.lost(format!("no answer within {} s", DEADLINE.as_secs()))
}

/// `<URL>; rel="next", <URL>; rel="last"`: the first's URL.
fn next_link(header: &str) -> Option<&str> {
    header.split(", <").find_map(|link| {
        let (url, parameters) = link.trim().trim_start_matches('<').split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().trim_end_matches(',');
            parameter == "rel=\"next\"" || parameter == "rel=next"
        });
        next.then_some(url)
    })
}

/// Pauses between attempts, longer each time and never in step with other hosts'.
struct Patience(ExponentialBackoff);

impl Patience {
    fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(4.0)
            .with_max_times(3)
            .with_jitter();
        Self(pauses.build())
    }

    /// Sleeps before another attempt, or gives the error back: enough.
    async fn pause(&mut self, error: GithubError) -> Result<(), GithubError> {
        let Some(pause) = self.0.next() else { return Err(error) };
        sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_whatever_stands_around_it() {
        let links = r#"<https://h/repositories/1/pulls?page=1>; rel="prev", <https://h/repositories/1/pulls?labels=a,b&page=3>; rel="next", <https://h/x>; rel="last""#;
        assert_eq!(next_link(links), Some("https://h/repositories/1/pulls?labels=a,b&page=3"));
        assert_eq!(next_link(r#"<https://h/x>; rel="last""#), None);
        assert_eq!(next_link("rubbish"), None);
    }
}
