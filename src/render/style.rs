//! One style sheet for reports and pages: tokens, pictures, page parts. System fonts, no asset from
//! anywhere, dark and light by the reader's preference.

/// Colours and fonts as custom properties, for both schemes.
pub const TOKENS: &str = include_str!("css/tokens.css");

/// The rules that pictures (graph, timeline) need; a stand-alone SVG carries them with the tokens.
pub const PICTURES: &str = include_str!("css/pictures.css");

/// Everything: what a page or a report includes.
pub const CSS: &str = concat!(
    include_str!("css/tokens.css"),
    include_str!("css/pictures.css"),
    include_str!("css/page.css"),
    include_str!("css/log.css"),
);
