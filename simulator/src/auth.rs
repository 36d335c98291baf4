//! Who is asking, and what they may: App JWTs, installation tokens, permissions.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::api::{App, Caller};
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
        return app_jwt(&world.app, token, now).map(|()| Credentials::App);
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
    (token.expires_at > now).then(|| token.clone())
}

fn app_jwt(app: &App, token: &str, now: DateTime<Utc>) -> Result<(), Answer> {
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
    let issuer = match &claims["iss"] {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    if issuer == app.id.to_string() || issuer == app.client_id {
        Ok(())
    } else {
        Err(refuse(404, "Integration not found"))
    }
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
pub(crate) fn admit(operation: &Operation, credentials: &Credentials) -> Result<(), Answer> {
    match (operation.auth, credentials) {
        (Auth::Jwt, Credentials::App)
        | (Auth::Installation, Credentials::Installation(_))
        | (Auth::Optional | Auth::Repository, _) => Ok(()),
        (Auth::Jwt, _) => Err(refuse(401, "A JSON web token could not be decoded")),
        (Auth::Installation, Credentials::Nobody) => Err(refuse(401, "Requires authentication")),
        (Auth::Installation, Credentials::App | Credentials::User(_)) => {
            Err(refuse(403, "Resource not accessible by integration"))
        }
    }
}

/// May these credentials call an operation about this repository? What may not be seen is 404,
/// what may be seen but not done is 403 with the permissions that would have been enough.
pub(crate) fn admit_to_repository(
    world: &World,
    operation: &Operation,
    credentials: &Credentials,
    repository: &Repository,
) -> Result<(), Answer> {
    if operation.auth == Auth::Jwt {
        return admit(operation, credentials);
    }
    match credentials {
        Credentials::App => Err(refuse(403, "Resource not accessible by integration")),
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
                    (false, true) => Err(lacking(operation)),
                    (false, false) => Ok(()),
                };
            }
            let enough = operation.permissions.is_empty()
                || operation.permissions.iter().any(|wanted| grants(&token.permissions, wanted));
            if enough { Ok(()) } else { Err(lacking(operation)) }
        }
    }
}

fn lacking(operation: &Operation) -> Answer {
    refuse(403, "Resource not accessible by integration")
        .with("x-accepted-github-permissions", operation.accepted_permissions())
}
