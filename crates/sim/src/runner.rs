//! Many seeds: each in a process of its own, as many at once as there are processors.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a seed may take on a clock on the wall before it is called stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a running seed.
const LOOK: Duration = Duration::from_millis(2);

/// What to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The program that plays one seed: this crate's binary.
    pub program: PathBuf,
    /// The planted bug, if any.
    pub mutation: Option<String>,
    /// The kinds of trouble, if not the seed's own.
    pub faults: Option<String>,
    /// How many at once; 0 for one a processor.
    pub at_once: usize,
}

/// A seed that was played.
#[derive(Debug, Clone)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// It held.
    pub held: bool,
    /// What the program said.
    pub said: String,
}

impl Played {
    /// A field of the program's summary, as in `name=value`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.said.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The law that was broken.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.said.lines().find_map(|line| line.strip_prefix("broken: ")?.split(':').next())
    }
}

struct Running {
    seed: u64,
    child: Child,
    since: Instant,
}

impl Job {
    /// The command that plays a seed again.
    #[must_use]
    pub fn again(&self, seed: u64) -> String {
        let mut command = format!("cargo run --release -p tricorn-sim -- --seed {seed}");
        if let Some(mutation) = &self.mutation {
            command.push_str(&format!(" --mutation {mutation}"));
        }
        if let Some(faults) = &self.faults {
            command.push_str(&format!(" --faults {faults}"));
        }
        command
    }

    fn start(&self, seed: u64) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(["--seed", &seed.to_string()]);
        if let Some(mutation) = &self.mutation {
            command.args(["--mutation", mutation]);
        }
        if let Some(faults) = &self.faults {
            command.args(["--faults", faults]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        Ok(Running { seed, child, since: Instant::now() })
    }

    /// Plays seeds until there are no more, or `each` has seen enough.
    pub fn play(&self, seeds: impl IntoIterator<Item = u64>, mut each: impl FnMut(&Played) -> bool) -> io::Result<()> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = if self.at_once == 0 { processors } else { self.at_once };
        let mut seeds = seeds.into_iter();
        let mut running: Vec<Running> = Vec::new();
        let mut enough = false;
        loop {
            while !enough && running.len() < at_once {
                let Some(seed) = seeds.next() else { break };
                running.push(self.start(seed)?);
            }
            if running.is_empty() {
                return Ok(());
            }
            let mut still = Vec::new();
            for one in running {
                match one.look()? {
                    Ok(played) => enough |= !each(&played),
                    Err(one) => still.push(one),
                }
            }
            running = still;
            std::thread::park_timeout(LOOK);
        }
    }
}

impl Running {
    /// What came of it, or itself while it runs.
    fn look(mut self) -> io::Result<Result<Played, Self>> {
        if self.child.try_wait()?.is_none() {
            if self.since.elapsed() < PATIENCE {
                return Ok(Err(self));
            }
            self.child.kill()?;
            self.child.wait()?;
            let said = "broken: it comes to an end: it was stopped\n".into();
            return Ok(Ok(Played { seed: self.seed, held: false, said }));
        }
        let seed = self.seed;
        // What it says fits into a pipe, so that it can end before anybody reads.
        let output = self.child.wait_with_output()?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() && !said.contains("broken: ") {
            said.push_str(&format!("broken: it comes to an end: {}\n", output.status));
        }
        Ok(Ok(Played { seed, held: output.status.success(), said }))
    }
}
