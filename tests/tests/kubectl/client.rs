//! One version of kubectl, at work in a namespace and a home of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tricorn_e2e::{Lab, Ran, run, until, within};

use crate::SOON;

/// A command that takes longer is told of.
const SLOW: Duration = Duration::from_secs(5);
/// No more of what is wrong is shown.
const SHOWN_BYTES: usize = 2000;
/// What an editor does here: it follows the sed script that lies beside it.
const EDITOR: &str = "#!/bin/sh\nexec sed -i -f \"$(dirname \"$0\")/edits\" \"$1\"\n";

/// The clients to drive, by the second number of their versions: the one on the PATH and, of those that lie beside it as `kubectl.1.*`,
/// the oldest and the newest.
pub async fn installed() -> BTreeMap<u32, PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file()).expect("a kubectl on the PATH");
    let real = usual.canonicalize().unwrap();
    let beside = std::fs::read_dir(real.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut beside: Vec<(u32, PathBuf)> = beside.filter_map(|path| Some((numbered(&path)?, path))).collect();
    beside.sort();
    let mut all: BTreeMap<u32, PathBuf> = beside.first().into_iter().chain(beside.last()).cloned().collect();
    let said = run(&usual, &["version", "--client", "-o", "json"], &[]).await.ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    let minor = said["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+').parse().unwrap();
    all.insert(minor, usual);
    all
}

/// The 27 of `kubectl.1.27`.
fn numbered(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("kubectl.1.")?.parse().ok()
}

/// A kubectl. In its lines `{ns}` stands for its namespace and `{dir}` for its home; a word in single quotes may hold blanks.
pub struct Kubectl {
    program: PathBuf,
    minor: u32,
    namespace: String,
    home: PathBuf,
    path: OsString,
    count: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// What the output of a command must hold, whatever blanks are between the words of it; `!` before one: must not.
pub type Words<'a> = &'a [&'a str];

impl Kubectl {
    /// Makes its home, its kubeconfig and its namespace.
    pub async fn new(lab: &Lab, minor: u32, program: PathBuf) -> Self {
        let namespace = format!("v1-{minor}");
        let home = lab.scratch(&namespace);
        std::fs::create_dir_all(home.join("bin")).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([home.join("bin")].into_iter().chain(std::env::split_paths(&path))).unwrap();
        let kubectl = Self { program, minor, namespace, home, path, count: AtomicUsize::new(0), failures: Mutex::default() };
        let config = std::fs::read_to_string(lab.cluster.kubeconfig()).unwrap();
        let mut config: Value = serde_yaml_ng::from_str(&config).unwrap();
        config["contexts"][0]["context"]["namespace"] = kubectl.namespace.as_str().into();
        kubectl.file("kubeconfig", &config.to_string());
        kubectl.script("editor", EDITOR);
        kubectl.says("create namespace {ns}", &["namespace/{ns} created"]).await;
        // Pods are refused until it is there.
        kubectl.until("get serviceaccount default", &["default"]).await;
        kubectl
    }

    /// Takes its namespace away.
    pub async fn leave(&self) {
        self.says("delete namespace {ns} --timeout=80s", &["namespace \"{ns}\" deleted"]).await;
        self.fails("get namespace {ns}", &["NotFound"]).await;
    }

    /// How many commands it has run.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it knows `what`, which came with version 1.`minor`. If not, that is said.
    pub fn knows(&self, minor: u32, what: &str) -> bool {
        let known = self.minor >= minor;
        if !known {
            eprintln!("kubectl 1.{}: skipped, since it came with 1.{minor}: {what}", self.minor);
        }
        known
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{ns}", &self.namespace).replace("{dir}", self.home.to_str().unwrap())
    }

    /// What a file holds. Older clients take whatever begins with a brace for JSON, so YAML gets its mark.
    fn content(&self, text: &str) -> String {
        let mark = if text.trim_start().starts_with("{apiVersion:") { "---\n" } else { "" };
        format!("{mark}{}", self.fill(text))
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Writes a file into its home.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.content(text)).unwrap();
    }

    /// Writes a program into its home.
    pub fn script(&self, name: &str, text: &str) {
        self.file(name, text);
        std::fs::set_permissions(self.home.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where a file of its home is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Reads a file of its home.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, program: &Path, arguments: &[String]) -> Command {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.home).kill_on_drop(true);
        command.env("HOME", &self.home).env("KUBECONFIG", self.home.join("kubeconfig")).env("PATH", &self.path);
        command.env("KUBE_EDITOR", self.home.join("editor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn ended(line: &str, mut command: Command, input: Option<&str>) -> Ran {
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`kubectl {line}`: {error}"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A command that has seen enough may be gone already.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let begun = Instant::now();
        let output = within(&format!("`kubectl {line}` ends"), SOON * 2, child.wait_with_output()).await.unwrap();
        if begun.elapsed() > SLOW {
            eprintln!("{:.1?} took: kubectl {line}", begun.elapsed());
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { line: format!("kubectl {line}"), code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs it.
    pub async fn run(&self, line: &str) -> Ran {
        let line = self.fill(line);
        Self::ended(&line, self.command(&self.program, &split(&line)), None).await
    }

    /// Runs it with an input.
    pub async fn fed(&self, line: &str, input: &str) -> Ran {
        let line = self.fill(line);
        Self::ended(&line, self.command(&self.program, &split(&line)), Some(&self.content(input))).await
    }

    /// Runs it on a terminal.
    pub async fn on_terminal(&self, line: &str) -> Ran {
        let line = self.fill(line);
        let whole = format!("{} {line}", self.program.display());
        let arguments = ["-qec", &whole, "/dev/null"].map(str::to_owned);
        Self::ended(&line, self.command(Path::new("script"), &arguments), None).await
    }

    /// Starts it, to go on until the answer is dropped.
    pub fn start(&self, line: &str) -> Running {
        let line = self.fill(line);
        let mut command = self.command(&self.program, &split(&line));
        let complaints = self.path(&format!("{}.err", self.count()));
        let mut child = command.stdin(Stdio::piped()).stderr(std::fs::File::create(&complaints).unwrap()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { line, lines, input: child.stdin.take().unwrap(), complaints, _child: child }
    }

    /// What is not as wanted.
    fn wrong(&self, ran: &Ran, code: i32, words: Words<'_>) -> Option<String> {
        let said = squeezed(&format!("{}\n{}", ran.out, ran.err));
        let wrong = words.iter().find(|word| match word.strip_prefix('!') {
            Some(word) => said.contains(&squeezed(&self.fill(word))),
            None => !said.contains(&squeezed(&self.fill(word))),
        });
        let wrong = if ran.code == Some(code) { wrong?.to_string() } else { format!("an end with {code}") };
        Some(shown(ran, &format!("wanted {wrong:?}")))
    }

    /// The output of a command that should have ended with `code` and said `words`. That it did not is kept for the end, so that all that
    /// is wrong is told at once.
    pub fn judge(&self, ran: Ran, code: i32, words: Words<'_>) -> String {
        self.failures.lock().extend(self.wrong(&ran, code, words));
        ran.out
    }

    /// Keeps what is wrong beside that.
    pub fn fail(&self, wrong: String) {
        self.failures.lock().push(wrong);
    }

    /// What was wrong.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().iter().map(|wrong| format!("kubectl 1.{}: {wrong}", self.minor)).collect()
    }

    /// Runs it; it succeeds and says `words`. Its output.
    pub async fn says(&self, line: &str, words: Words<'_>) -> String {
        self.judge(self.run(line).await, 0, words)
    }

    /// Runs it; it succeeds and its output is `wanted`, but for blanks around it.
    pub async fn is(&self, line: &str, wanted: &str) {
        let (ran, wanted) = (self.run(line).await, self.fill(wanted));
        if ran.code != Some(0) || ran.out.trim() != wanted.trim() {
            self.fail(shown(&ran, &format!("wanted only {wanted:?}")));
        }
    }

    /// Runs it; it ends with 1 and says `words`.
    pub async fn fails(&self, line: &str, words: Words<'_>) {
        self.judge(self.run(line).await, 1, words);
    }

    /// Runs many, each of which succeeds and says its words.
    pub async fn each(&self, lines: &[(&str, Words<'_>)]) {
        for (line, words) in lines {
            self.says(line, words).await;
        }
    }

    /// Runs many, each of which ends with 1 and says its words.
    pub async fn each_fails(&self, lines: &[(&str, Words<'_>)]) {
        for (line, words) in lines {
            self.fails(line, words).await;
        }
    }

    /// Runs it until it succeeds and says `words`. Its output.
    pub async fn until(&self, line: &str, words: Words<'_>) -> String {
        until(line, SOON, async || {
            let ran = self.run(line).await;
            self.wrong(&ran, 0, words).map_or(Ok(ran.out), Err)
        })
        .await
    }

    /// Applies a manifest given as text.
    pub async fn apply(&self, manifest: &str) {
        self.judge(self.fed("apply -f -", manifest).await, 0, &[]);
    }
}

/// A command that goes on.
pub struct Running {
    line: String,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    complaints: PathBuf,
    _child: Child,
}

impl Running {
    /// Gives it some input, after which more may come.
    pub async fn say(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line of its output that holds `words`.
    pub async fn line(&mut self, words: &str) -> String {
        let find = async {
            let mut seen = Vec::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if squeezed(&line).contains(words) {
                    return line;
                }
                seen.push(line);
            }
            let complaints = std::fs::read_to_string(&self.complaints).unwrap_or_default();
            panic!("`kubectl {}` ended without {words:?}: {seen:?}\n{complaints}", self.line)
        };
        within(&format!("`kubectl {}` says {words:?}", self.line), SOON, find).await
    }
}

fn shown(ran: &Ran, wrong: &str) -> String {
    let all = format!("`{}`: {wrong}, and it ended with {:?}:\n{}{}", ran.line, ran.code, ran.out, ran.err);
    all.chars().take(SHOWN_BYTES).collect()
}

/// Any blanks, and any number of them, are one.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a line; what is in single quotes is taken as it is.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
