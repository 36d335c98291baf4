//! The least HTTP/1.1 that the benchmarks need: a client that costs next to nothing itself, over
//! TCP and over the Docker Engine's socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer, its body read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Reads one answer. An answer without length ends with its connection.
pub(crate) fn read(from: &mut impl BufRead) -> anyhow::Result<Response> {
    let (status, framing) = read_head(from)?;
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => {
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        }
        Framing::Chunked => read_chunks(from, &mut body)?,
        Framing::UntilClosed => {
            from.read_to_end(&mut body)?;
        }
    }
    Ok(Response { status, body })
}

/// How the end of a body is known.
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

pub(crate) fn read_head(from: &mut impl BufRead) -> anyhow::Result<(u16, Framing)> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("the connection was closed")?.parse()?;
    let mut framing =
        if matches!(status, 204 | 304) { Framing::Length(0) } else { Framing::UntilClosed };
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        }
    }
    Ok((status, framing))
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).context("a chunk's length")?;
        let start = body.len();
        body.resize(start + length, 0);
        from.read_exact(body.get_mut(start..).unwrap_or_default())?;
        line.clear();
        from.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// One GET over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    send(address, request.as_bytes())
}

/// One request over a connection of its own.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> anyhow::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    read(&mut BufReader::new(stream))
}

/// The answer's JSON; the status must be 200.
pub(crate) fn get_json(address: SocketAddr, path: &str) -> anyhow::Result<serde_json::Value> {
    let Response { status, body } = get(address, path)?;
    ensure!(status == 200, "GET {path}: {status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// What is left of a stream, for protocols that leave HTTP behind.
pub(crate) fn read_rest(from: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut rest = Vec::new();
    from.read_to_end(&mut rest)?;
    Ok(rest)
}
