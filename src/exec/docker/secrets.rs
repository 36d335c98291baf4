//! Hands secrets to a container through its standard input, into memory: neither its definition,
//! its arguments, an archive nor a snapshot of it ever holds one.

use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::query_parameters::AttachContainerOptions;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::container::SECRETS;
use super::{Halt, halt};
use crate::domain::secret::{Delivery, Secret, variable_of};

/// Obeys lines of its input until one sets the variable, and becomes the step's script, which is
/// its `$0`, without any input.
const RECEIVE: &str = "_checkvalve=; \
    while [ -z \"$_checkvalve\" ] && IFS= read -r _checkvalve_line; do \
    eval \"$_checkvalve_line\"; done; \
    case \"$_checkvalve\" in 1) ;; *) exit 125 ;; esac; \
    unset _checkvalve _checkvalve_line _checkvalve_mask; \
    exec sh -e -c \"$0\" </dev/null";

/// A container that has not read its input by now never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// What stands behind `sh -e -c`.
pub(super) fn command(script: String, secrets: &[Secret]) -> Vec<String> {
    if secrets.is_empty() { vec![script] } else { vec![RECEIVE.to_owned(), script] }
}

/// The lines that [`RECEIVE`] obeys: builtins of a shell alone.
fn lines(secrets: &[Secret], folder: &str) -> Result<SecretString, String> {
    let mut lines = "_checkvalve_mask=$(umask); umask 077\n".to_owned();
    for secret in secrets {
        let _ = match &secret.delivery {
            Delivery::File => writeln!(
                lines,
                "printf '{}' >'{folder}/{}'",
                escaped(secret.value.expose()),
                secret.name
            ),
            // A shell takes line ends off the end of what a command prints.
            Delivery::Env => writeln!(
                lines,
                "{0}=$(printf '{1}.'); export {0}=\"${{{0}%.}}\"",
                variable_of(&secret.name),
                escaped(secret.as_variable()?)
            ),
        };
    }
    lines.push_str("umask \"$_checkvalve_mask\"; _checkvalve=1\n");
    Ok(SecretString::from(lines))
}

/// As a format of `printf`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4);
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

/// A container's standard input, attached before it starts.
pub(super) struct Handover {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    lines: SecretString,
}

impl Handover {
    /// None, if there is nothing to hand over.
    pub(super) async fn attach(
        api: &Api,
        name: &str,
        secrets: &[Secret],
    ) -> Result<Option<Self>, Halt> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let lines = lines(secrets, SECRETS).map_err(Halt::never)?;
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            ..AttachContainerOptions::default()
        };
        let attached = api.attach_container(name, Some(options)).await;
        let attached =
            attached.map_err(|e| halt("the container's input could not be attached", &e))?;
        Ok(Some(Self { input: attached.input, lines }))
    }

    /// Once it has started.
    pub(super) async fn give(mut self) -> Result<(), Halt> {
        let write = async {
            self.input.write_all(self.lines.expose_secret().as_bytes()).await?;
            self.input.flush().await
        };
        let written = tokio::time::timeout(PATIENCE, write).await;
        let written = written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        written.map_err(|e| Halt::again(format!("the secrets did not reach the container: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::domain::secret::SecretValue;

    fn secret(name: &str, delivery: Delivery, value: &[u8]) -> Secret {
        let value = SecretValue::new(value.to_vec());
        Secret { name: name.parse().unwrap(), delivery, value }
    }

    #[test]
    fn a_shell_takes_every_byte_and_the_script_has_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..=255).collect();
        let text = b"-n %s 'a' \"b\" $HOME `id`\n\n\\n 12\n\n".as_slice();
        let secrets =
            [secret("all.bin", Delivery::File, &all), secret("token", Delivery::Env, text)];
        let script = "cat; printf %s \"$TOKEN\" > out; set | grep -c _checkvalve || true; umask";
        let command = command(script.to_owned(), &secrets);
        let mut child = Command::new("sh")
            .args(["-e", "-c"])
            .args(&command)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(&secrets, folder.path().to_str().unwrap()).unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(lines.expose_secret().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().starts_with("0\n"));
        assert_eq!(std::fs::read(folder.path().join("all.bin")).unwrap(), all);
        assert_eq!(std::fs::read(folder.path().join("out")).unwrap(), text);
        let meta = std::fs::metadata(folder.path().join("all.bin")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_script_never_begins_without_its_secrets() {
        let command = command("echo begun".to_owned(), &[secret("a", Delivery::File, b"b")]);
        let output =
            Command::new("sh").args(["-e", "-c"]).args(&command).stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(125), Vec::new()));
        assert!(lines(&[secret("a", Delivery::Env, b"\0")], "").unwrap_err().contains("NUL"));
    }
}
