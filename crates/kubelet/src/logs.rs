//! Container logs: the runtime's line format, finding the last lines, following, rotation.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tricorn_proto::cri;

use crate::context::Context;

/// A log file larger than this is put aside.
const ROTATE_BYTES: u64 = 10 << 20;
/// Files kept for a container, the current one among them.
const ROTATE_FILES: usize = 5;
const ROTATE_PERIOD: Duration = Duration::from_secs(10);
/// How often a followed file is looked at for more.
const FOLLOW_PERIOD: Duration = Duration::from_millis(100);

/// One line of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time as written.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// Whether the line goes on in the next.
    pub partial: bool,
    /// The text, without the line end.
    pub text: &'a [u8],
}

/// Reads `TIME STREAM TAGS TEXT`.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Line { time, stream, partial: tags.split(|byte| *byte == b':').any(|tag| tag == b"P"), text })
}

/// What of a log is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Go on while the container runs.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// With times.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<usize>,
    /// `stdout` or `stderr`; none is both.
    pub stream: Option<String>,
}

/// Formats one line as wanted; none when it is not.
fn format(line: &[u8], wanted: &Wanted) -> Option<Vec<u8>> {
    let line = parse(line)?;
    if wanted.stream.as_deref().is_some_and(|stream| stream != line.stream) {
        return None;
    }
    if let Some(since) = wanted.since
        && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
    {
        return None;
    }
    let mut out = Vec::with_capacity(line.text.len() + 40);
    if wanted.timestamps {
        out.extend_from_slice(line.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(line.text);
    if !line.partial {
        out.push(b'\n');
    }
    Some(out)
}

/// Offset at which the last `lines` lines of a file begin.
pub fn tail_offset(file: &mut std::fs::File, lines: usize) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut left = lines + 1;
    let mut position = end;
    let mut buffer = Vec::new();
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        buffer.resize((position - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer)?;
        for (index, byte) in buffer.iter().enumerate().rev() {
            // The end of the last line does not begin another.
            if *byte == b'\n' || start + index as u64 + 1 == end {
                left -= 1;
                if left == 0 {
                    return Ok(start + index as u64 + 1);
                }
            }
        }
        position = start;
    }
    Ok(0)
}

/// The text of the last lines of a log.
pub fn last_lines(path: &Path, lines: usize) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let offset = tail_offset(&mut file, lines)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut raw = Vec::new();
    file.read_to_end(&mut raw)?;
    let wanted = Wanted::default();
    Ok(raw.split(|byte| *byte == b'\n').filter_map(|line| format(line, &wanted)).flatten().collect())
}

/// Asks whether a container still runs.
pub type Running = Box<dyn Fn() -> futures::future::BoxFuture<'static, bool> + Send + Sync>;

/// Sends the wanted part of a log. While following, `running` tells whether more may come.
pub async fn send(path: PathBuf, wanted: Wanted, running: Running, out: mpsc::Sender<std::io::Result<Bytes>>) {
    if let Err(error) = send_all(&path, &wanted, &running, &out).await {
        // Who reads may be gone; nothing is left to be done then.
        let _ = out.send(Err(error)).await;
    }
}

async fn send_all(path: &Path, wanted: &Wanted, running: &Running, out: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    let offset = match wanted.tail {
        Some(lines) => tail_offset(&mut file, lines)?,
        None => 0,
    };
    let mut inode = file.metadata()?.ino();
    let mut reader = BufReader::new(tokio::fs::File::from_std(file));
    reader.seek(SeekFrom::Start(offset)).await?;
    let mut left = wanted.limit_bytes.unwrap_or(usize::MAX);
    let mut line = Vec::new();
    loop {
        let was_running = wanted.follow && running().await;
        while reader.read_until(b'\n', &mut line).await? > 0 {
            // A line without an end is still being written.
            if line.last() != Some(&b'\n') {
                break;
            }
            line.pop();
            if let Some(mut text) = format(&line, wanted) {
                text.truncate(left);
                left -= text.len();
                if out.send(Ok(text.into())).await.is_err() || left == 0 {
                    return Ok(());
                }
            }
            line.clear();
        }
        if !was_running || out.is_closed() {
            return Ok(());
        }
        // After a rotation the path names another file.
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() != inode) {
            let next = std::fs::File::open(path)?;
            inode = next.metadata()?.ino();
            reader = BufReader::new(tokio::fs::File::from_std(next));
            line.clear();
            continue;
        }
        tokio::time::sleep(FOLLOW_PERIOD).await;
    }
}

/// Rotates the logs of running containers until cancelled.
pub async fn rotate(context: Arc<Context>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROTATE_PERIOD) => {}
        }
        if let Err(error) = rotate_all(&context).await {
            tracing::debug!(%error, "rotate logs");
        }
    }
}

async fn rotate_all(context: &Context) -> crate::Result<()> {
    let running = cri::ContainerStateValue { state: cri::ContainerState::ContainerRunning as i32 };
    let filter = cri::ContainerFilter { state: Some(running), ..Default::default() };
    let request = cri::ListContainersRequest { filter: Some(filter) };
    for container in context.cri.list_containers("the node", request).await?.containers {
        let get = |key: &str| container.labels.get(key).cloned().unwrap_or_default();
        use crate::pod::labels::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID};
        let attempt = container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
        let directory = context.config.pod_log_dir(&get(POD_NAMESPACE), &get(POD_NAME), &get(POD_UID)).join(get(CONTAINER_NAME));
        let path = directory.join(format!("{attempt}.log"));
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > ROTATE_BYTES) {
            put_aside(&path).map_err(crate::Error::io("rotate", &path))?;
            context.cri.reopen_container_log(&container.id, cri::ReopenContainerLogRequest { container_id: container.id.clone() }).await?;
        }
    }
    Ok(())
}

fn put_aside(path: &Path) -> std::io::Result<()> {
    let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::rename(path, path.with_file_name(format!("{name}.{stamp}")))?;
    let prefix = format!("{name}.");
    let Some(directory) = path.parent() else { return Ok(()) };
    let mut old: Vec<PathBuf> = std::fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(ROTATE_FILES - 1);
    old.iter().take(surplus).try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::io::Write;

    const LOG: &str = "2026-01-01T00:00:00.000000001Z stdout F one\n2026-01-01T00:00:01.000000000Z stderr P tw\n2026-01-01T00:00:02.000000000Z stderr F o\n2026-01-01T00:00:03.000000000Z stdout F three\n";

    async fn read(wanted: Wanted) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::File::create(&path).unwrap().write_all(LOG.as_bytes()).unwrap();
        let (out, mut parts) = mpsc::channel(64);
        send(path, wanted, Box::new(|| Box::pin(std::future::ready(false))), out).await;
        let mut all = Vec::new();
        while let Some(part) = parts.recv().await {
            all.extend_from_slice(&part.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn logs_are_cut_as_they_are_asked_for() {
        assert_eq!(read(Wanted::default()).await, "one\ntwo\nthree\n");
        assert_eq!(read(Wanted { tail: Some(1), ..Default::default() }).await, "three\n");
        assert_eq!(read(Wanted { tail: Some(0), ..Default::default() }).await, "");
        assert_eq!(read(Wanted { tail: Some(9), ..Default::default() }).await, "one\ntwo\nthree\n");
        assert_eq!(read(Wanted { limit_bytes: Some(5), ..Default::default() }).await, "one\nt");
        assert_eq!(read(Wanted { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..Default::default() }).await, "three\n");
        assert_eq!(read(Wanted { stream: Some("stdout".into()), ..Default::default() }).await, "one\nthree\n");
        assert_eq!(read(Wanted { tail: Some(1), timestamps: true, ..Default::default() }).await, "2026-01-01T00:00:03.000000000Z three\n");
    }
}
