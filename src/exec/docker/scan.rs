//! Runs a scanner over another image: it is handed over as a file, so that no container needs the
//! engine's socket.

use std::fs::File;
use std::path::Path;

use bollard::errors::Error as ApiError;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::container::{Container, is_missing};
use super::run::Attached;
use super::{Course, Docker, Exit, Given, Halt, Held, SLOW, halt, told, unless_stopped};
use crate::exec::images::Scan;
use crate::exec::pipe::ChannelWriter;
use crate::exec::source::relative;

impl Docker {
    /// As any step without heirs, but for the file.
    pub(super) async fn run_scanner(
        &self,
        scan: &Scan,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<Exit, Halt> {
        let Given { step, cancel, .. } = *given;
        course.enter("export");
        unless_stopped(cancel, self.export(scan)).await?;
        let image = unless_stopped(cancel, self.find_image(&step.image, course)).await?;
        course.image_digest.clone_from(&image.digest);
        course.enter("create");
        let network = self.network_of(step, cancel).await?;
        let body = self.body(step, (&image.id, false), network)?;
        let container = Container::create(&self.api, &self.removals, &step.image, body).await?;
        let held = Held { container, agent: None, image, base: None };
        let prepared = async {
            unless_stopped(cancel, self.upload(&held.container, step, &held.image)).await?;
            unless_stopped(cancel, self.hand_over(&held.container, scan)).await?;
            course.enter("start");
            self.start(&held.container, false, given).await
        };
        let ended = match prepared.await {
            Ok(Attached::Watch(watch)) => {
                course.enter("run");
                watch.until_exit(cancel, self.options.grace, &step.image).await
            }
            Ok(Attached::Agent(_)) => Err(Halt::never("a scanner's container is its own")),
            Err(halt) => Err(halt),
        };
        let left = self.leave(held, ended, given, course).await;
        course.leave();
        left.map(|(exit, _)| exit)
    }

    /// Writes the image to the spool: what it comes to must be known before it is sent.
    async fn export(&self, scan: &Scan) -> Result<(), Halt> {
        let unwritable = |e: std::io::Error| {
            Halt::again(format!("the image could not be kept for the scanner: {e}"))
        };
        let file = tokio::fs::File::create(&scan.spool).await.map_err(unwritable)?;
        let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
        let api = self.api.clone().with_timeout(SLOW);
        let mut chunks = Box::pin(api.export_image(&scan.image));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| gone(&scan.image, &e))?;
            file.write_all(&chunk).await.map_err(unwritable)?;
        }
        file.flush().await.map_err(unwritable)
    }

    /// Sends it into the container's layer.
    async fn hand_over(&self, container: &Container, scan: &Scan) -> Result<(), Halt> {
        let (from, path) = (scan.spool.clone(), scan.path);
        self.send(container, "the image", move |to| pack(&from, path, to)).await
    }
}

/// An archive with one file, readable by whoever the scanner runs as.
fn pack(from: &Path, path: &str, to: ChannelWriter) -> std::io::Result<()> {
    let mut file = File::open(from)?;
    let mut tar = tar::Builder::new(to);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(file.metadata()?.len());
    tar.append_data(&mut header, relative(path), &mut file)?;
    tar.finish()
}

fn gone(image: &str, error: &ApiError) -> Halt {
    // Some engines answer 500 for what they don't have.
    if is_missing(error) || told(error).contains("No such image") {
        return Halt::never(format!(
            "the image {image} is no longer on this engine: run the step that builds it again"
        ));
    }
    halt("the image could not be fetched for the scanner", error)
}
