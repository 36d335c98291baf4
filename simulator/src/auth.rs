//! Who is asking, and what they may: App JWTs, installation tokens, permissions.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::api::{App, Caller};
use crate::choices::Choices;
use crate::enterprise::Enterprise;
use crate::operations::{Auth, Operation};
use crate::refusals::{Answer, bad_credentials, not_found, refuse};
use crate::world::{Repository, Token, World};

const PUBLIC_KEY: &str = include_str!("../keys/test-only-app-key.pub.pem");
/// GitHub's edge is strict: one second more is refused.
const LONGEST_JWT: TimeDelta = TimeDelta::seconds(600);

/// Checked credentials.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Nobody,
    App,
    Installation(Token),
    User(String),
}

impl Credentials {
    pub(crate) fn caller(&self) -> Caller {
        match self {
            Self::Nobody => Caller::Nobody,
            Self::App => Caller::App,
            Self::Installation(token) => Caller::Installation(token.installation_id),
            Self::User(login) => Caller::User(login.clone()),
        }
    }

    /// Whose writes these are, as login.
    pub(crate) fn login(&self, world: &World) -> String {
        match self {
            Self::User(login) => login.clone(),
            Self::Nobody | Self::App | Self::Installation(_) => world.bot_login(),
        }
    }
}

/// Reads `Authorization`. Wrong credentials are refused even where none are needed.
pub(crate) fn identify(
    world: &mut World,
    headers: &HeaderMap,
    choices: &Choices,
    now: DateTime<Utc>,
) -> Result<Credentials, Answer> {
    let Some(value) = headers.get("authorization") else { return Ok(Credentials::Nobody) };
    let value = value.to_str().map_err(|_| bad_credentials())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(bad_credentials)?;
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
        return Err(bad_credentials());
    }
    let token = token.trim();
    if token.starts_with("ghs_") {
        return installation_token(world, token, now)
            .map(Credentials::Installation)
            .ok_or_else(bad_credentials);
    }
    if token.starts_with("ghp_") {
        return world
            .personal_tokens
            .get(token)
            .cloned()
            .map(Credentials::User)
            .ok_or_else(bad_credentials);
    }
    if token.matches('.').count() == 2 {
        let by_client_id = world.enterprise.is_none_or(Enterprise::takes_client_id);
        let issuer = app_jwt(token, now)?;
        return if is_ours(&world.app, &issuer, by_client_id) {
            Ok(Credentials::App)
        } else {
            Err(refuse(choices.unknown_issuer, "Integration not found").in_our_words())
        };
    }
    Err(bad_credentials())
}

/// The token's rights, unless it is unknown, expired, revoked or too fresh.
pub(crate) fn installation_token(
    world: &mut World,
    token: &str,
    now: DateTime<Utc>,
) -> Option<Token> {
    let token = world.tokens.get_mut(token)?;
    if token.not_yet_known > 0 {
        token.not_yet_known -= 1;
        return None;
    }
    (token.expires_at > now && token.known_from <= now).then(|| token.clone())
}

/// The issuer of a JWT that is sound otherwise.
fn app_jwt(token: &str, now: DateTime<Utc>) -> Result<String, Answer> {
    let undecodable = || refuse(401, "A JSON web token could not be decoded");
    let key = DecodingKey::from_rsa_pem(PUBLIC_KEY.as_bytes()).map_err(|_| undecodable())?;
    let mut validation = Validation::new(Algorithm::RS256);
    // The claims are checked below, with GitHub's own words.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims =
        jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(|_| undecodable())?.claims;
    let not_future = "'Expiration time' claim ('exp') must be a numeric value representing the \
                      future time at which the assertion expires";
    let expires = claims["exp"].as_f64().ok_or_else(|| refuse(401, not_future))?;
    #[expect(clippy::cast_precision_loss, reason = "epoch seconds fit in 52 bits")]
    let (now_s, longest) = (now.timestamp() as f64, LONGEST_JWT.num_seconds() as f64);
    if expires <= now_s {
        return Err(refuse(401, not_future));
    }
    if expires > now_s + longest {
        return Err(refuse(401, "'Expiration time' claim ('exp') is too far in the future"));
    }
    if claims["iat"].as_i64().is_none_or(|issued| issued > now.timestamp()) {
        return Err(refuse(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the \
             assertion was issued",
        ));
    }
    Ok(match &claims["iss"] {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    })
}

fn is_ours(app: &App, issuer: &str, by_client_id: bool) -> bool {
    issuer == app.id.to_string() || (by_client_id && issuer == app.client_id)
}

/// Do these permissions include `name=level`? `write` includes `read`.
pub(crate) fn grants(permissions: &BTreeMap<String, String>, wanted: &str) -> bool {
    let Some((name, level)) = wanted.split_once('=') else { return false };
    let rank = |level: &str| match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 0,
    };
    // `metadata: read` comes with every installation.
    let held = permissions.get(name).map_or(u8::from(name == "metadata"), |held| rank(held));
    held >= rank(level)
}

/// Is the repository within the token's selection?
pub(crate) fn selects(world: &World, token: &Token, repository: u64) -> bool {
    let Some(installation) = world.installations.get(&token.installation_id) else { return false };
    installation.repositories.contains(&repository)
        && token.repositories.as_ref().is_none_or(|selected| selected.contains(&repository))
}

/// May these credentials call an operation that is not about a repository?
pub(crate) fn admit(
    operation: &Operation,
    credentials: &Credentials,
    choices: &Choices,
) -> Result<(), Answer> {
    let foreign = |usual: u16, text: &str| {
        refuse(choices.foreign_credentials.unwrap_or(usual), text).in_our_words()
    };
    match (operation.auth, credentials) {
        (Auth::Installation, Credentials::Installation(token)) => {
            if is_enough(operation, token) {
                Ok(())
            } else {
                Err(lacking(operation))
            }
        }
        (Auth::Jwt, Credentials::App) | (Auth::Optional | Auth::Repository, _) => Ok(()),
        (Auth::Jwt, _) => Err(foreign(401, "A JSON web token could not be decoded")),
        (Auth::Installation, Credentials::Nobody) => Err(refuse(401, "Requires authentication")),
        (Auth::Installation, Credentials::App | Credentials::User(_)) => {
            Err(foreign(403, "Resource not accessible by integration"))
        }
    }
}

/// Does the token have one of the permissions that are wanted, if any is?
fn is_enough(operation: &Operation, token: &Token) -> bool {
    operation.permissions.is_empty()
        || operation.permissions.iter().any(|wanted| grants(&token.permissions, wanted))
}

/// May these credentials call an operation about this repository? What may not be seen is 404,
/// what may be seen but not done is 403 with the permissions that would have been enough.
pub(crate) fn admit_to_repository(
    world: &World,
    operation: &Operation,
    credentials: &Credentials,
    repository: &Repository,
    choices: &Choices,
) -> Result<(), Answer> {
    if operation.auth == Auth::Jwt {
        return admit(operation, credentials, choices);
    }
    match credentials {
        Credentials::App => {
            let status = choices.foreign_credentials.unwrap_or(403);
            Err(refuse(status, "Resource not accessible by integration").in_our_words())
        }
        Credentials::Nobody if repository.private => Err(not_found()),
        Credentials::Nobody if operation.writes() => Err(refuse(401, "Requires authentication")),
        Credentials::Nobody => Ok(()),
        Credentials::User(login) => {
            if repository.role(login) == crate::api::Permission::None {
                return Err(not_found());
            }
            Ok(())
        }
        Credentials::Installation(token) => {
            let installation = world.installations.get(&token.installation_id);
            if installation.is_some_and(|installation| installation.suspended_at.is_some()) {
                return Err(refuse(403, "This installation has been suspended"));
            }
            if !selects(world, token, repository.id) {
                return match (repository.private, operation.writes()) {
                    (true, _) => Err(not_found()),
                    (false, true) if choices.unselected_write == 403 => Err(lacking(operation)),
                    (false, true) => Err(refuse(choices.unselected_write, "Not Found")),
                    (false, false) => Ok(()),
                };
            }
            if !is_enough(operation, token) {
                return Err(lacking(operation));
            }
            if repository.archived && operation.writes() {
                return Err(refuse(403, "Repository was archived so is read-only."));
            }
            Ok(())
        }
    }
}

fn lacking(operation: &Operation) -> Answer {
    refuse(403, "Resource not accessible by integration")
        .with("x-accepted-github-permissions", operation.accepted_permissions())
}
