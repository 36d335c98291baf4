//! Lists: 30 a page unless asked for more, never more than 100, with a `Link` header.

use serde_json::{Value, json};

use crate::choices::OversizedPage;
use crate::refusals::{Answer, Outcome, invalid_request};
use crate::server::Asked;
use crate::world::World;

const DEFAULT: usize = 30;
const MOST: usize = 100;

/// One page of a plain array.
pub(crate) fn array(world: &World, asked: &Asked<'_>, items: Vec<Value>) -> Outcome {
    let (page, link) = cut(world, asked, items)?;
    Ok(linked(Answer::ok(page.into()), link))
}

/// One page of `{"total_count": …, "<name>": […]}`.
pub(crate) fn counted(world: &World, asked: &Asked<'_>, name: &str, items: Vec<Value>) -> Outcome {
    let total = items.len();
    let (page, link) = cut(world, asked, items)?;
    let mut body = json!({ "total_count": total });
    body[name] = page.into();
    Ok(linked(Answer::ok(body), link))
}

pub(crate) fn linked(answer: Answer, link: Option<String>) -> Answer {
    match link {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

/// The items of the page that is asked for, and the `Link` header when there are more.
pub(crate) fn cut<T>(
    world: &World,
    asked: &Asked<'_>,
    items: Vec<T>,
) -> Result<(Vec<T>, Option<String>), Answer> {
    let number = |name: &str| asked.query(name).and_then(|value| value.parse::<usize>().ok());
    let size = match (number("per_page").filter(|&size| size > 0), asked.choices.oversized_page) {
        (Some(size), _) if size <= MOST => size,
        (None, _) | (_, OversizedPage::Usual) => DEFAULT,
        (Some(_), OversizedPage::Clamp) => MOST,
        (Some(_), OversizedPage::Refuse) => {
            let text = format!("For 'properties/per_page', no more than {MOST} is allowed.");
            return Err(invalid_request(&[text]).in_our_words());
        }
    };
    let page = number("page").filter(|&page| page > 0).unwrap_or(1);
    let last = items.len().div_ceil(size).max(1);
    let link = (last > 1).then(|| link(world, asked, page, last));
    let page = items.into_iter().skip((page - 1) * size).take(size).collect();
    Ok((page, link))
}

fn link(world: &World, asked: &Asked<'_>, page: usize, last: usize) -> String {
    // GitHub's links address repositories by number: clients must not take them apart.
    let path = asked.repository.map_or_else(
        || asked.operation.template.to_owned(),
        |id| {
            let rest: String =
                asked.operation.template.splitn(5, '/').nth(4).unwrap_or_default().to_owned();
            asked.params.iter().fold(format!("/repositories/{id}/{rest}"), |path, (name, value)| {
                path.replace(&format!("{{{name}}}"), value)
            })
        },
    );
    let others: Vec<String> = asked
        .query
        .iter()
        .filter(|(name, _)| *name != "page")
        .map(|(name, value)| {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            format!("&{name}={value}")
        })
        .collect();
    let mut relations = Vec::new();
    if page > 1 {
        relations.push(("prev", page - 1));
    }
    if page < last {
        relations.push(("next", page + 1));
        relations.push(("last", last));
    }
    if page > 1 {
        relations.push(("first", 1));
    }
    let links: Vec<String> = relations
        .into_iter()
        .map(|(name, page)| {
            format!("<{}{path}?page={page}{}>; rel=\"{name}\"", world.api_url, others.concat())
        })
        .collect();
    links.join(", ")
}
