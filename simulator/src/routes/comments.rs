//! Issue comments and their reactions.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{home, home_mut, paging};
use crate::api::Permission;
use crate::auth::Credentials;
use crate::events::Deed;
use crate::refusals::{
    Answer, Outcome, complaint, invalid_request, not_found, refuse, validation_failed,
};
use crate::server::Asked;
use crate::shapes::pulls::REACTIONS;
use crate::simulator::Inner;
use crate::world::{CommentRow, Conversation, Reaction, Repository, World};

/// Characters, not bytes.
const LONGEST_BODY: usize = 65_536;

pub(super) fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "issues/list-comments" => list(inner, asked),
        "issues/list-comments-for-repo" => list_all(inner, asked),
        "issues/create-comment" => create(inner, asked),
        "issues/get-comment" => {
            let world = inner.world();
            let (home, comment) = find(&world, asked)?;
            Ok(Answer::ok(world.comment_json(home, comment)))
        }
        "issues/update-comment" => update(inner, asked),
        "issues/delete-comment" => delete(inner, asked),
        "reactions/list-for-issue-comment" => {
            let world = inner.world();
            let (_, comment) = find(&world, asked)?;
            let wanted = asked.query("content");
            let items = comment
                .reactions
                .iter()
                .filter(|reaction| wanted.is_none_or(|wanted| reaction.content == wanted))
                .map(|reaction| world.reaction_json(reaction))
                .collect();
            paging::array(&world, asked, items)
        }
        "reactions/create-for-issue-comment" => react(inner, asked),
        "reactions/delete-for-issue-comment" => {
            let id = asked.number("reaction_id")?;
            let mut world = inner.world();
            let comment = find_mut(&mut world, asked)?;
            let before = comment.reactions.len();
            comment.reactions.retain(|reaction| reaction.id != id);
            if comment.reactions.len() == before {
                Err(not_found())
            } else {
                Ok(Answer::empty(204))
            }
        }
        _ => Err(not_found()),
    }
}

/// The issue or pull request of a number; what was deleted is gone, not unknown.
fn conversation(home: &Repository, number: u64) -> Result<Conversation<'_>, Answer> {
    let found = home.conversation(number).ok_or_else(not_found)?;
    if found.is_deleted() { Err(refuse(410, "This issue was deleted")) } else { Ok(found) }
}

fn find<'a>(
    world: &'a World,
    asked: &Asked<'_>,
) -> Result<(&'a Repository, &'a CommentRow), Answer> {
    let home = home(world, asked.repository()?)?;
    let comment = home.comments.get(&asked.number("comment_id")?).ok_or_else(not_found)?;
    Ok((home, comment))
}

fn find_mut<'a>(world: &'a mut World, asked: &Asked<'_>) -> Result<&'a mut CommentRow, Answer> {
    let id = asked.number("comment_id")?;
    home_mut(world, asked.repository()?)?.comments.get_mut(&id).ok_or_else(not_found)
}

fn list(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let number = asked.number("issue_number")?;
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    conversation(home, number)?;
    let since = asked.query("since").unwrap_or_default().to_owned();
    let items = home
        .comments
        .values()
        .filter(|comment| comment.number == number)
        .filter(|comment| crate::clock::stamp(comment.updated_at) >= since)
        .map(|comment| world.comment_json(home, comment))
        .collect();
    paging::array(&world, asked, items)
}

/// All of a repository's, on issues and pull requests, by number unless something else is asked for.
fn list_all(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let since = asked.query("since").unwrap_or_default().to_owned();
    let fresh = |comment: &&CommentRow| crate::clock::stamp(comment.updated_at) >= since;
    let mut comments: Vec<&CommentRow> = home.comments.values().filter(fresh).collect();
    match asked.query("sort") {
        Some("updated") => comments.sort_by_key(|comment| (comment.updated_at, comment.id)),
        Some("created") => comments.sort_by_key(|comment| (comment.created_at, comment.id)),
        Some(_) | None => {}
    }
    // Ignored without `sort`.
    if asked.query("sort").is_some() && asked.query("direction") != Some("asc") {
        comments.reverse();
    }
    let items = comments.into_iter().map(|comment| world.comment_json(home, comment)).collect();
    paging::array(&world, asked, items)
}

/// The comment's text, or GitHub's refusal of it.
fn body_of(asked: &Asked<'_>) -> Result<String, Answer> {
    let text = match asked.body.get("body") {
        None => return Err(invalid_request(&["\"body\" wasn't supplied.".to_owned()])),
        Some(Value::String(text)) => text.clone(),
        Some(_) => {
            let text = "For 'properties/body', nil is not a string.".to_owned();
            return Err(invalid_request(&[text]));
        }
    };
    if text.trim().is_empty() {
        let error = complaint("IssueComment", "custom", "body", Some("body can't be blank"));
        return Err(validation_failed(&[error]));
    }
    if text.chars().count() > LONGEST_BODY {
        let message = format!("Body is too long (maximum is {LONGEST_BODY} characters)");
        let error = complaint("IssueComment", "unprocessable", "data", Some(&message));
        return Err(validation_failed(&[error]));
    }
    Ok(text)
}

fn create(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let number = asked.number("issue_number")?;
    let repository = asked.repository()?;
    let now = inner.clock.now();
    let mut world = inner.world();
    let user = asked.credentials.login(&world);
    let by_app = matches!(asked.credentials, Credentials::Installation(_));
    let found = home(&world, repository)?;
    if conversation(found, number)?.is_locked() && (by_app || found.role(&user) < Permission::Write)
    {
        return Err(refuse(403, "Unable to create comment because issue is locked."));
    }
    let body = body_of(asked)?;
    let id = world.id();
    home_mut(&mut world, repository)?.comments.insert(
        id,
        CommentRow {
            id,
            number,
            user: user.clone(),
            body,
            by_app,
            created_at: now,
            updated_at: now,
            reactions: Vec::new(),
        },
    );
    inner.emit_comment(&mut world, Deed::new("created", repository, &user), id, json!({}));
    let home = home(&world, repository)?;
    let comment = home.comments.get(&id).ok_or_else(not_found)?;
    let location = format!("{}/issues/comments/{id}", world.repository_url(home));
    Ok(Answer::json(201, world.comment_json(home, comment)).with("location", location))
}

/// Apps change their own comments only.
fn must_own(world: &World, asked: &Asked<'_>) -> Result<String, Answer> {
    let user = asked.credentials.login(world);
    let (_, comment) = find(world, asked)?;
    if comment.user.eq_ignore_ascii_case(&user) {
        Ok(user)
    } else {
        Err(refuse(403, "Resource not accessible by integration"))
    }
}

fn update(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let repository = asked.repository()?;
    let now = inner.clock.now();
    let mut world = inner.world();
    let user = must_own(&world, asked)?;
    let body = body_of(asked)?;
    let comment = find_mut(&mut world, asked)?;
    let before = std::mem::replace(&mut comment.body, body);
    comment.updated_at = now;
    let id = comment.id;
    let what = json!({ "changes": { "body": { "from": before } } });
    inner.emit_comment(&mut world, Deed::new("edited", repository, &user), id, what);
    let (home, comment) = find(&world, asked)?;
    Ok(Answer::ok(world.comment_json(home, comment)))
}

fn delete(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let repository = asked.repository()?;
    let mut world = inner.world();
    let user = must_own(&world, asked)?;
    let id = asked.number("comment_id")?;
    inner.emit_comment(&mut world, Deed::new("deleted", repository, &user), id, json!({}));
    home_mut(&mut world, repository)?.comments.remove(&id);
    Ok(Answer::empty(204))
}

fn react(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let content = asked.body.get("content").and_then(Value::as_str);
    let Some(content) = content else {
        return Err(invalid_request(&["\"content\" wasn't supplied.".to_owned()]));
    };
    if !REACTIONS.contains(&content) {
        let allowed: Vec<String> = REACTIONS.iter().map(|one| format!("\"{one}\"")).collect();
        let text = format!("{content} is not a member of [{}].", allowed.join(", "));
        return Err(invalid_request(&[text]));
    }
    let now = inner.clock.now();
    let mut world = inner.world();
    let user = asked.credentials.login(&world);
    let id = world.id();
    let comment = find_mut(&mut world, asked)?;
    let existing = comment
        .reactions
        .iter()
        .find(|reaction| reaction.user == user && reaction.content == content);
    if let Some(existing) = existing.cloned() {
        return Ok(Answer::ok(world.reaction_json(&existing)));
    }
    let reaction = Reaction { id, user, content: content.to_owned(), created_at: now };
    comment.reactions.push(reaction.clone());
    Ok(Answer::json(201, world.reaction_json(&reaction)))
}
