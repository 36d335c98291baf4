//! Small pages to look at in a browser.

use crate::refusals::Answer;
use crate::simulator::Inner;

pub(crate) fn serve(_inner: &Inner, _path: &str) -> Answer {
    Answer::raw(404, "text/plain", "Not Found\n")
}
