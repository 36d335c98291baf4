//! The simulator's state: one value behind one lock, never held across an `await`.

mod checks;
mod conversations;
mod organizations;
mod people;
mod pulls;
mod repositories;
mod rules;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

pub(crate) use self::checks::{Run, Suite, latest};
pub(crate) use self::conversations::{Conversation, Issue};
pub(crate) use self::organizations::Organization;
pub(crate) use self::people::{User, UserKind};
pub(crate) use self::pulls::{CommentRow, Merge, Pull, PullSize, Reaction};
pub(crate) use self::repositories::{CommitFacts, Repository};
pub(crate) use self::rules::{QueuedGroup, Verdict};
pub(crate) use self::statuses::{CombinedState, StatusRow};
use crate::api::{App, Call, OwnerKind};
use crate::archives::ArchiveLink;
use crate::deliveries::{DeliveryRow, Hook};
use crate::enterprise::Enterprise;
use crate::registration::Registration;

/// The id of the App that stands for "somebody else's App" (GitHub Actions' real one).
pub(crate) const OTHER_APP_ID: u64 = 15_368;

/// Everything that GitHub would remember.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) api_url: String,
    pub(crate) app: App,
    pub(crate) app_permissions: BTreeMap<String, String>,
    pub(crate) app_events: Vec<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) hook: Hook,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) repositories: BTreeMap<u64, Repository>,
    pub(crate) installations: BTreeMap<u64, Installation>,
    /// By login in small letters.
    pub(crate) organizations: BTreeMap<String, Organization>,
    /// App manifests that were accepted, by code.
    pub(crate) registrations: BTreeMap<String, Registration>,
    /// Archives that may be downloaded, by the token in their address.
    pub(crate) archives: BTreeMap<String, ArchiveLink>,
    /// `None` is github.com.
    pub(crate) enterprise: Option<Enterprise>,
    pub(crate) tokens: BTreeMap<String, Token>,
    /// Personal tokens, by token: login.
    pub(crate) personal_tokens: BTreeMap<String, String>,
    pub(crate) deliveries: Vec<DeliveryRow>,
    pub(crate) calls: Vec<Call>,
    pub(crate) violations: Vec<String>,
    next_id: u64,
}

/// The App on one account.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) repositories: BTreeSet<u64>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) suspended_at: Option<DateTime<Utc>>,
}

/// An installation token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) installation_id: u64,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) permissions: BTreeMap<String, String>,
    /// `None`: all of the installation's.
    pub(crate) repositories: Option<BTreeSet<u64>>,
    /// How many more calls answer 401, as replication lag makes them.
    pub(crate) not_yet_known: u32,
    /// And until when.
    pub(crate) known_from: DateTime<Utc>,
}

impl World {
    pub(crate) fn new(
        url: String,
        app: App,
        permissions: BTreeMap<String, String>,
        events: Vec<String>,
        now: DateTime<Utc>,
    ) -> Self {
        let hook = Hook {
            secret: Some(app.webhook_secret.clone()).filter(|s| !s.is_empty()),
            ..Hook::default()
        };
        let mut world = Self {
            api_url: format!("{url}/api/v3"),
            url,
            app,
            app_permissions: permissions,
            app_events: events,
            started_at: now,
            hook,
            users: BTreeMap::new(),
            repositories: BTreeMap::new(),
            installations: BTreeMap::new(),
            organizations: BTreeMap::new(),
            registrations: BTreeMap::new(),
            archives: BTreeMap::new(),
            enterprise: None,
            tokens: BTreeMap::new(),
            personal_tokens: BTreeMap::new(),
            deliveries: Vec::new(),
            calls: Vec::new(),
            violations: Vec::new(),
            next_id: 10_000,
        };
        let bot = world.bot_login();
        world.add_user(&bot, UserKind::Bot);
        world.add_user("simulator-owner", UserKind::Organization);
        world
    }

    /// A fresh number. One counter for everything: ids of two kinds are never mistaken.
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The login under which the App writes.
    pub(crate) fn bot_login(&self) -> String {
        format!("{}[bot]", self.app.slug)
    }

    pub(crate) fn add_user(&mut self, login: &str, kind: UserKind) -> &mut User {
        let key = login.to_lowercase();
        let id = self.id();
        self.users.entry(key).or_insert_with(|| User { id, login: login.to_owned(), kind })
    }

    /// A person known from now on.
    pub(crate) fn meet(&mut self, login: &str) {
        // No person's login has brackets.
        let kind = if login.ends_with("[bot]") { UserKind::Bot } else { UserKind::User };
        self.add_user(login, kind);
    }

    pub(crate) fn owner(&mut self, login: &str, kind: OwnerKind) {
        let kind = match kind {
            OwnerKind::Organization => UserKind::Organization,
            OwnerKind::User => UserKind::User,
        };
        self.add_user(login, kind);
    }

    pub(crate) fn is_organization(&self, login: &str) -> bool {
        self.users
            .get(&login.to_lowercase())
            .is_some_and(|user| user.kind == UserKind::Organization)
    }

    /// By `owner/name`, in any case.
    pub(crate) fn repository(&self, full_name: &str) -> Option<&Repository> {
        self.repositories.values().find(|r| r.full_name().eq_ignore_ascii_case(full_name))
    }

    pub(crate) fn repository_mut(&mut self, full_name: &str) -> Option<&mut Repository> {
        self.repositories.values_mut().find(|r| r.full_name().eq_ignore_ascii_case(full_name))
    }

    /// The repository that once had this name.
    pub(crate) fn renamed(&self, full_name: &str) -> Option<u64> {
        self.repositories
            .values()
            .find(|r| r.former_names.iter().any(|name| name.eq_ignore_ascii_case(full_name)))
            .map(|r| r.id)
    }

    pub(crate) fn installation_of(&self, repository: u64) -> Option<&Installation> {
        self.installations.values().find(|i| i.repositories.contains(&repository))
    }

    pub(crate) fn violation(&mut self, text: String) {
        tracing::warn!("{text}");
        // Long lists of the same help nobody.
        if self.violations.len() < 1000 {
            self.violations.push(text);
        }
    }
}
