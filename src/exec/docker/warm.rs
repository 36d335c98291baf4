//! A container that is made before its step's turn, with the source in it: what is left is its
//! start.

use tokio_util::sync::CancellationToken;

use super::container::Container;
use super::left::{Form, Left};
use super::{Course, Docker, Halt, Held, StepRun};

impl Docker {
    /// `None` where more belongs to a begin: services, or what is handed over in confidence.
    pub(super) async fn warm_up(&self, step: &StepRun) -> Result<Option<Left>, Halt> {
        if !step.services.is_empty() || !step.secrets.is_empty() {
            return Ok(None);
        }
        let image = self.find_image(&step.image, &mut Course::begin()).await?;
        let network = self.network_of(step, &CancellationToken::new()).await?;
        let shared = image.is_shared(step);
        let body = if shared {
            self.shared_body(step, &image.id, network)
        } else {
            self.body(step, (&image.id, false), network)?
        };
        let container = Container::create(&self.api, &self.removals, &step.image, body).await?;
        self.upload(&container, step, &image).await?;
        Ok(Some(Left { image, base: None, form: Form::Ready { container, shared } }))
    }
}

impl Left {
    /// What was made ready for a step, if it was made as the step is to begin now: its heirs may
    /// have changed since.
    pub(super) fn ready_for(self, step: &StepRun) -> Option<Held> {
        let Self { image, base, form: Form::Ready { container, shared } } = self else {
            return None;
        };
        let fits = shared == image.is_shared(step);
        fits.then_some(Held { container, agent: None, image, base })
    }
}
