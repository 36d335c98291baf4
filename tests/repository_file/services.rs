//! `services` of a step: what is read, and what is refused.

use super::{read, refused, with_steps};

fn of(services: &str) -> String {
    with_steps(&format!(
        "      - id: unit\n        image: x\n        run: y\n        services:\n{services}"
    ))
}

#[test]
fn services_are_read() {
    let rules = read(&of(r#"
          - alias: db
            image: "postgres:16"
            env: { POSTGRES_PASSWORD: secret, PORT: 5432 }
            command: postgres -c 'fsync=off'
            ready: { run: pg_isready -U postgres, port: 5432, interval: 2s, timeout: 90s }
            resources: { cpus: 1, memory: 1Gi }
          - { alias: web, image: web, entrypoint: [/web, --fast], needs: db, ready: { run: [/up] } }
"#))
    .unwrap();
    let step = &rules.pipelines[0].steps[0];
    let [db, web] = step.services.as_slice() else { panic!("{:?}", step.services) };
    assert_eq!((db.alias.as_str(), db.image.as_str()), ("db", "postgres:16"));
    assert_eq!((db.env["PORT"].as_str(), db.command.len()), ("5432", 3));
    assert_eq!(db.command[2], "fsync=off");
    let ready = db.ready.as_ref().unwrap();
    assert_eq!(ready.run, ["sh", "-c", "pg_isready -U postgres"]);
    assert_eq!((ready.port, ready.interval_ms, ready.timeout_ms), (Some(5432), 2000, 90_000));
    assert_eq!(db.resources.unwrap().memory, 1 << 30);
    assert_eq!((web.entrypoint.len(), web.needs.len()), (2, 1));
    let ready = web.ready.as_ref().unwrap();
    assert_eq!(
        (ready.run.as_slice(), ready.interval_ms, ready.timeout_ms),
        (&["/up".to_owned()][..], 1000, 60_000)
    );
}

#[test]
fn a_compose_file_is_named_for_the_planning() {
    let rules = read(&of("          compose: test/docker-compose.yml\n")).unwrap();
    let pipeline = &rules.pipelines[0];
    assert!(pipeline.steps[0].services.is_empty());
    assert_eq!(pipeline.compose[&pipeline.steps[0].id], "test/docker-compose.yml");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (services, line, told) in [
        ("          - { image: x }\n", 8, "the service has no `alias`"),
        ("          - { alias: db }\n", 8, "the service has no `image`"),
        ("          - { alias: d b, image: x }\n", 8, "`d b` is not a service's name"),
        ("          - { alias: localhost, image: x }\n", 8, "means something else"),
        ("          - { alias: db, image: a b }\n", 8, "is not an image's name"),
        (
            "          - { alias: db, image: x, volumes: [/:/x] }\n",
            8,
            "a service has no key `volumes`",
        ),
        ("          - { alias: db, image: x, ready: {} }\n", 8, "says neither `port` nor `run`"),
        (
            "          - { alias: db, image: x, ready: { run: [] } }\n",
            8,
            "says neither `port` nor `run`",
        ),
        (
            "          - { alias: db, image: x, ready: { port: 70000 } }\n",
            8,
            "`70000` is no TCP port",
        ),
        (
            "          - { alias: db, image: x, command: \"a 'b\" }\n",
            8,
            "a quote of `command` is open",
        ),
        ("          - { alias: db, image: x, env: { CHECKVALVE_X: a } }\n", 8, "is reserved"),
        (
            "          - { alias: db, image: x }\n          - { alias: DB, image: x }\n",
            9,
            "two services",
        ),
        ("          - { alias: db, image: x, needs: [cache] }\n", 8, "which is none of the step's"),
        ("          - { alias: db, image: x, needs: [db] }\n", 8, "needs itself"),
        ("          compose: ../docker-compose.yml\n", 8, "`compose` can't be"),
        ("          compose: /docker-compose.yml\n", 8, "`compose` can't be"),
        ("          file: docker-compose.yml\n", 8, "has no key `file`"),
    ] {
        let said = refused(&of(services));
        assert!(said.contains(told), "{services}{said}");
        assert!(said.contains(&format!("checkvalve.yml:{line}:")), "{services}{said}");
    }
    let many: Vec<String> =
        (0..11).map(|n| format!("          - {{ alias: s{n}, image: x }}\n")).collect();
    assert!(refused(&of(&many.concat())).contains("at most 10"));
    let untrusted = of("          - { alias: db, image: x }\n        untrusted: true\n");
    assert!(refused(&untrusted).contains("can't be `untrusted`"));
    let scalar = with_steps("      - { id: a, image: x, run: y, services: db }\n");
    assert!(refused(&scalar).contains("`services` wants a list"));
}
