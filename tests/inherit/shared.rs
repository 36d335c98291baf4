//! Steps that go on in the container of another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkvalve::domain::pipeline::{Network, Resources, StepSpec};
use checkvalve::engine::Stop;

use super::images::USER;
use super::scripted::Notes;
use super::{contained, contained_noting, first, from, reached};

#[tokio::test]
async fn a_container_is_shared_only_by_steps_that_would_have_got_the_same() {
    let more = Some(Resources { cpus: 1.0, memory: 64 << 20 });
    let steps = vec![
        first("install", "echo installed > made"),
        StepSpec { network: Network::Bridge, ..from("install", "online", "cat made") },
        StepSpec { resources: more, ..from("install", "large", "cat made") },
    ];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded online=succeeded large=succeeded");
    for step in ["online", "large"] {
        assert_eq!(ran.log(step, 1), "installed\n");
        assert!(ran.segments(step).contains(&"create"));
    }
}

#[tokio::test]
async fn another_user_than_root_inherits_too() {
    let steps = |steps: Vec<StepSpec>| {
        steps.into_iter().map(|spec| StepSpec { image: USER.to_owned(), ..spec }).collect()
    };
    let steps = steps(vec![
        first("install", "id -u; echo installed > made"),
        from("install", "unit", "cat made; echo x > $CHECKVALVE_OUT/x"),
        from("install", "lint", "cat made; echo x > $CHECKVALVE_OUT/x"),
    ]);
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=succeeded lint=succeeded");
    assert_eq!(ran.log("install", 1), "1000\n");
}

#[tokio::test]
async fn a_shared_container_knows_limits_and_an_end_in_good_order() {
    let tidy = "trap 'echo tidy; exit 4' TERM; echo begun; while :; do sleep 0.1; done";
    let steps = vec![
        first("install", "true"),
        StepSpec { timeout_ms: 2500, ..from("install", "unit", tidy) },
        first("other", "true"),
        StepSpec { timeout_ms: 2500, ..from("other", "deaf", "trap '' TERM; while :; do :; done") },
    ];
    let begun = Instant::now();
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=timed_out other=succeeded deaf=timed_out");
    let log = ran.log("unit", 1);
    assert!(log.starts_with("begun\n") && log.ends_with("tidy\n"), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(40));
    let (stop, notes) = (Stop::new(), Arc::<Notes>::default());
    let end = async {
        reached(&notes, "unit", "running").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.stop("superseded");
    };
    let steps = vec![first("install", "true"), from("install", "unit", tidy)];
    let (ran, ()) = tokio::join!(contained_noting(steps, &stop, notes.clone()), end);
    assert_eq!(ran.unwrap().told(), "install=succeeded unit=cancelled");
}

#[tokio::test]
async fn too_little_memory_in_a_shared_container_is_said() {
    let small = |spec: StepSpec| StepSpec {
        resources: Some(Resources { cpus: 1.0, memory: 32 << 20 }),
        ..spec
    };
    let steps = vec![
        small(first("install", "true")),
        small(from("install", "unit", "tail /dev/zero; echo status $?; exit 137")),
    ];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=failed");
    assert_eq!(ran.record("unit").facts.reason.as_deref(), Some("out of memory: limit 32 MiB"));
}

#[tokio::test]
async fn output_in_a_shared_container_is_complete_and_byte_for_byte() {
    let many = "i=0; while [ $i -lt 300 ]; do printf '%s\\036\\377' $i; i=$((i+1)); done; \
                head -c 3000000 /dev/zero; printf '\\036'";
    let steps = vec![first("install", "true"), from("install", "unit", many)];
    let Some(ran) = contained(steps).await else { return };
    assert_eq!(ran.told(), "install=succeeded unit=succeeded");
    let printed = ran.notes.printed.lock().unwrap();
    let log = &printed[&("unit".parse().unwrap(), 1)];
    let mut expected = Vec::new();
    for n in 0..300 {
        expected.extend_from_slice(n.to_string().as_bytes());
        expected.extend_from_slice(b"\x1e\xff");
    }
    expected.resize(expected.len() + 3_000_000, 0);
    expected.push(0x1e);
    assert!(*log == expected, "{} of {} bytes", log.len(), expected.len());
}
