//! A raw client of the Docker Engine's API: requests over its socket, and nothing else. What a step
//! costs through it is the floor of every runner that gives a step a container.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::http::{self, Response};

const SOCKET: &str = "/var/run/docker.sock";
const PATIENCE: Duration = Duration::from_mins(1);

/// One kept connection.
pub(crate) struct Engine {
    connection: BufReader<UnixStream>,
}

fn connect() -> anyhow::Result<UnixStream> {
    let host = std::env::vars_os().find(|(name, _)| name == "DOCKER_HOST");
    let host = host.map(|(_, host)| host.to_string_lossy().into_owned());
    let socket = host.as_deref().unwrap_or(SOCKET).trim_start_matches("unix://");
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("no Docker Engine at {socket}: start it"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Engine {
    pub(crate) fn connect() -> anyhow::Result<Self> {
        Ok(Self { connection: BufReader::new(connect()?) })
    }

    fn call(
        &mut self,
        method: &str,
        path: &str,
        (kind, body): (&str, &[u8]),
    ) -> anyhow::Result<Response> {
        let head = format!(
            "{method} /v1.41{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.connection.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let response = http::read(&mut self.connection)?;
        ensure!(
            response.status < 300,
            "{method} {path}: {}: {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        );
        Ok(response)
    }

    pub(crate) fn create(&mut self, container: &Value) -> anyhow::Result<String> {
        let body = container.to_string();
        let made =
            self.call("POST", "/containers/create", ("application/json", body.as_bytes()))?;
        let made: Value = serde_json::from_slice(&made.body)?;
        Ok(made["Id"].as_str().context("a container without id")?.to_owned())
    }

    /// Unpacks an archive in the container's root folder.
    pub(crate) fn upload(&mut self, id: &str, tar: &[u8]) -> anyhow::Result<()> {
        let path = format!("/containers/{id}/archive?path=/");
        self.call("PUT", &path, ("application/x-tar", tar)).map(drop)
    }

    pub(crate) fn start(&mut self, id: &str) -> anyhow::Result<()> {
        self.call("POST", &format!("/containers/{id}/start"), ("text/plain", b"")).map(drop)
    }

    /// Its exit status, once it has one.
    pub(crate) fn wait(&mut self, id: &str) -> anyhow::Result<i64> {
        let ended = self.call("POST", &format!("/containers/{id}/wait"), ("text/plain", b""))?;
        let ended: Value = serde_json::from_slice(&ended.body)?;
        ended["StatusCode"].as_i64().context("no exit status")
    }

    /// Runs a command in a container that runs; its output.
    pub(crate) fn exec(&mut self, id: &str, command: &Value) -> anyhow::Result<String> {
        let path = format!("/containers/{id}/exec");
        let body = command.to_string();
        let made = self.call("POST", &path, ("application/json", body.as_bytes()))?;
        let made: Value = serde_json::from_slice(&made.body)?;
        let exec = made["Id"].as_str().context("a command without id")?.to_owned();
        let printed = Output::of(&format!("/exec/{exec}/start"), r#"{"Detach":false}"#)?.text()?;
        let ended = self.call("GET", &format!("/exec/{exec}/json"), ("text/plain", b""))?;
        let ended: Value = serde_json::from_slice(&ended.body)?;
        ensure!(ended["ExitCode"] == 0, "a command ended with {}: {printed}", ended["ExitCode"]);
        Ok(printed)
    }

    /// Makes an image of a container's file system; its id.
    pub(crate) fn commit(&mut self, id: &str) -> anyhow::Result<String> {
        let path = format!("/commit?container={id}&pause=0");
        let made = self.call("POST", &path, ("application/json", b"{}"))?;
        let made: Value = serde_json::from_slice(&made.body)?;
        Ok(made["Id"].as_str().context("an image without id")?.to_owned())
    }

    pub(crate) fn remove_image(&mut self, id: &str) -> anyhow::Result<()> {
        self.call("DELETE", &format!("/images/{id}?force=1"), ("text/plain", b"")).map(drop)
    }

    pub(crate) fn remove(&mut self, id: &str) -> anyhow::Result<()> {
        let path = format!("/containers/{id}?force=1&v=1");
        self.call("DELETE", &path, ("text/plain", b"")).map(drop)
    }
}

/// A container's output, attached before its start so that none is missed.
pub(crate) struct Output(BufReader<UnixStream>);

impl Output {
    pub(crate) fn attach(id: &str) -> anyhow::Result<Self> {
        Self::of(&format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1"), "")
    }

    fn of(path: &str, body: &str) -> anyhow::Result<Self> {
        let mut stream = connect()?;
        let request = format!(
            "POST /v1.41{path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: \
             tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut stream = BufReader::new(stream);
        let (status, _) = http::read_head(&mut stream)?;
        ensure!(matches!(status, 101 | 200), "attach: {status}");
        Ok(Self(stream))
    }

    /// All of it; waits for the container's end.
    pub(crate) fn text(mut self) -> anyhow::Result<String> {
        let raw = http::read_rest(&mut self.0)?;
        // Frames: a byte of which stream, three of nothing, four of length.
        let (mut rest, mut text) = (raw.as_slice(), Vec::new());
        while let Some((head, frames)) = rest.split_first_chunk::<8>() {
            let [.., a, b, c, d] = *head;
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
            let (frame, next) = frames.split_at_checked(length).context("a cut frame")?;
            text.extend_from_slice(frame);
            rest = next;
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
