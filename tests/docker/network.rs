//! What steps with a network reach, and what a stranger's code may.

use std::time::Duration;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;
use checkvalve::domain::pipeline::Network;
use checkvalve::domain::state::Outcome;
use checkvalve::exec::docker::{Docker, DockerOptions};
use checkvalve::exec::{Executor, StepRun};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::images::BUSYBOX;
use super::set_up;
use super::steps::run;

#[tokio::test]
async fn a_step_has_no_privileges_and_no_network() {
    let Some((_, docker, place)) = set_up().await else { return };
    let script = "ls /sys/class/net | tr '\\n' ' '; echo
        grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status
        test ! -e /var/run/docker.sock
        touch /tmp/x; chown 1000 /tmp/x
        ! mount -t tmpfs none /tmp 2>/dev/null
        ! mknod /tmp/null c 1 3 2>/dev/null
        ! chmod 777 /proc/sys/kernel/core_pattern 2>/dev/null
        echo fine";
    let (ended, output) = run(&docker, place.step(BUSYBOX, script)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert!(output.starts_with("lo \n"), "{output}");
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, SETGID 6, SETUID 7.
    assert!(output.contains("CapEff:\t00000000000000cb"), "{output}");
    assert!(output.contains("CapBnd:\t00000000000000cb"), "{output}");
    assert!(output.contains("NoNewPrivs:\t1"), "{output}");
    let mut step = place.step(BUSYBOX, "ls /sys/class/net | tr '\\n' ' '");
    step.network = Network::Bridge;
    let (_, output) = run(&docker, step).await;
    assert_eq!(output, "eth0 lo ");
}

#[tokio::test]
async fn a_strangers_step_has_no_capability_and_only_the_network_that_was_prepared() {
    let Some((api, docker, place)) = set_up().await else { return };
    let guarded = |script: &str| {
        let step = place.step(BUSYBOX, script);
        StepRun { guarded: true, network: Network::Bridge, ..step }
    };
    let script = "ls /sys/class/net | tr '\\n' ' '; echo
        grep -E 'CapEff|CapBnd' /proc/self/status
        touch /tmp/x; ! chown 1000 /tmp/x 2>/dev/null; echo fine > $CHECKVALVE_OUT/fine.txt; echo fine";
    let (ended, output) = run(&docker, guarded(script)).await;
    assert_eq!(ended.outcome, Outcome::Succeeded, "{output}");
    assert!(output.starts_with("lo \n"), "{output}");
    assert_eq!(output.matches("\t0000000000000000").count(), 2, "{output}");

    let name = format!("checkvalve-test-{}", checkvalve::ambient::ulid());
    let host = checkvalve::ambient::env("DOCKER_HOST");
    let options = DockerOptions {
        guarded_network: Some(name.clone()),
        grace: Duration::from_millis(500),
        ..DockerOptions::new("test")
    };
    let prepared = Docker::connect(host.as_deref(), options).await.unwrap();
    let (ended, _) = run(&prepared, guarded("true")).await;
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, false), "{ended:?}");
    let reason = ended.reason.unwrap();
    assert!(reason.contains(&name) && reason.contains("CHECKVALVE_UNTRUSTED_NETWORK"), "{reason}");
    let request = NetworkCreateRequest {
        name: name.clone(),
        internal: Some(true),
        ..NetworkCreateRequest::default()
    };
    api.create_network(request).await.unwrap();
    let list = "ls /sys/class/net | tr '\\n' ' '";
    let (_, output) = run(&prepared, guarded(list)).await;
    let (_, alone) = run(&prepared, StepRun { network: Network::None, ..guarded(list) }).await;
    api.remove_network(&name).await.unwrap();
    assert_eq!((output.as_str(), alone.as_str()), ("eth0 lo ", "lo "));
}

#[tokio::test]
async fn steps_with_a_network_do_not_reach_each_other() {
    let Some((_, docker, place)) = set_up().await else { return };
    // By itself it can be reached at that address: what is closed below is closed on the way.
    let script = "address=$(ip -4 -o addr show eth0 | awk '{ print $4 }' | cut -d/ -f1)\n\
                  nc -l -p 8000 & sleep 1\n\
                  nc -w 2 $address 8000 < /dev/null || exit 1\n\
                  echo $address; nc -l -p 8000; echo reached";
    let mut server = place.step(BUSYBOX, script);
    server.network = Network::Bridge;
    let (log, mut chunks) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (docker, stop) = (docker.clone(), stop.clone());
        async move { docker.run(server, None, log, stop).await }
    });
    let address = String::from_utf8(chunks.recv().await.unwrap().to_vec()).unwrap();
    let address = address.trim().to_owned();
    let script = format!("nc -w 2 {address} 8000 < /dev/null && echo reached || echo closed");
    let mut client = place.step(BUSYBOX, &script);
    client.network = Network::Bridge;
    let (_, output) = run(&docker, client).await;
    assert!(output.ends_with("closed\n"), "{output}");
    stop.cancel();
    assert_eq!(serving.await.unwrap().0.outcome, Outcome::Cancelled);
}

/// An executor of a process of its own, with a network that no other test uses.
async fn on_network(network: &str) -> Docker {
    let host = checkvalve::ambient::env("DOCKER_HOST");
    let options = DockerOptions { network: network.to_owned(), ..DockerOptions::new("test") };
    Docker::connect(host.as_deref(), options).await.unwrap()
}

/// Engines before 25 make several networks of one name when asked at once, and then refuse it.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_many_make_at_once_can_be_used_by_all() {
    let Some((api, _, place)) = set_up().await else { return };
    let name = format!("checkvalve-test-{}", checkvalve::ambient::ulid());
    let mut runs = Vec::new();
    for _ in 0..4 {
        let docker = on_network(&name).await;
        for _ in 0..2 {
            let mut step = place.step(BUSYBOX, "cat /sys/class/net/eth0/mtu");
            step.network = Network::Bridge;
            let docker = docker.clone();
            runs.push(tokio::spawn(async move { run(&docker, step).await }));
        }
    }
    // An engine's own setting for its default bridge holds for ours.
    let default = api.inspect_network("bridge", None::<InspectNetworkOptions>).await.unwrap();
    let options = default.options.unwrap_or_default();
    let mtu = options.get("com.docker.network.driver.mtu").map_or("1500", String::as_str);
    for run in runs {
        let (ended, output) = run.await.unwrap();
        assert_eq!(ended.outcome, Outcome::Succeeded, "{ended:?}");
        assert_eq!(output.trim(), mtu);
    }
    for network in api.list_networks(None).await.unwrap() {
        if network.name.as_deref() == Some(&*name) {
            api.remove_network(&network.id.unwrap()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_network_on_which_steps_reach_each_other_is_not_used() {
    let Some((api, _, place)) = set_up().await else { return };
    let name = format!("checkvalve-test-{}", checkvalve::ambient::ulid());
    let request = NetworkCreateRequest { name: name.clone(), ..NetworkCreateRequest::default() };
    let made = api.create_network(request).await.unwrap().id;
    let mut step = place.step(BUSYBOX, "true");
    step.network = Network::Bridge;
    let (ended, _) = run(&on_network(&name).await, step).await;
    api.remove_network(&made).await.unwrap();
    assert_eq!((ended.outcome, ended.retry), (Outcome::Errored, false), "{ended:?}");
    let reason = ended.reason.unwrap();
    assert!(reason.contains("enable_icc=false"), "{reason}");
}
