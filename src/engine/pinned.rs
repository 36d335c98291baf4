//! Plans that are carried out again, with the images of the run before.

use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Plan;
use crate::domain::service::Service;
use crate::domain::state::Outcome;
use crate::exec::Ended;

/// What runs beside a step.
pub(super) fn services(plan: &Plan, spec: &StepSpec) -> Vec<Service> {
    let pinned = |service: &Service| {
        let image = plan.service_image_of(spec, service).to_owned();
        Service { image, ..service.clone() }
    };
    spec.services.iter().map(pinned).collect()
}

/// Says of an image that can't be had why it is that one, and what to do about it.
pub(super) fn explain(plan: &Plan, spec: &StepSpec, ended: &mut Ended) {
    let (Some(pins), Outcome::Errored) = (plan.pins(), ended.outcome) else { return };
    let Some(reason) = &mut ended.reason else { return };
    let own = pins.step(&spec.id).map(|image| (image, &spec.image));
    let beside = spec
        .services
        .iter()
        .filter_map(|service| Some((pins.service(&spec.id, &service.alias)?, &service.image)));
    let bases =
        pins.bases(&spec.id).into_iter().flatten().map(|(name, image)| (image.as_str(), name));
    let mut images = own.into_iter().chain(beside).chain(bases);
    let told = images.find(|(image, _)| reason.contains(&format!("image `{image}` ")));
    if let Some((_, name)) = told {
        *reason = format!(
            "{reason}. It is what `{name}` was in run {}, whose plan this is; `/test {}` makes a new \
             plan, with what the configuration names now",
            pins.run,
            plan.connector()
        );
    }
}
