//! What a seed stands for: the size of the group, the weather, which faults there are, for how long.

use crate::dice::Dice;
use crate::network::Weather;
use std::fmt;
use std::time::Duration;
use tricorn_store::Timing;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A member loses its power, anywhere in what it does; what it had not synced is lost, or some of it is not.
    Crash,
    /// All members lose their power at once.
    PowerCut,
    /// A member is stopped properly and started again.
    Restart,
    /// Messages get lost between some members, in one direction or both.
    Partition,
    /// Connections break.
    Reset,
    /// A member stands still for a while, as a paused virtual machine does.
    Freeze,
    /// A member's wall clock is set.
    Clock,
    /// Disks become slow.
    SlowDisk,
    /// The network becomes slow.
    SlowNetwork,
    /// A disk fails to sync.
    SyncError,
    /// Leadership is handed over.
    Transfer,
    /// Members come and go.
    Membership,
    /// A disk is damaged while its member is off: the member is refused its directory, and replaced.
    Damage,
}

/// Every kind of trouble.
pub const FAULTS: [Fault; 13] = [
    Fault::Crash,
    Fault::PowerCut,
    Fault::Restart,
    Fault::Partition,
    Fault::Reset,
    Fault::Freeze,
    Fault::Clock,
    Fault::SlowDisk,
    Fault::SlowNetwork,
    Fault::SyncError,
    Fault::Transfer,
    Fault::Membership,
    Fault::Damage,
];

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// Members that found the group.
    pub members: usize,
    /// Clients that read and write.
    pub clients: usize,
    /// Keys that they quarrel about.
    pub keys: u64,
    /// How long there is trouble.
    pub trouble: Duration,
    /// The kinds of trouble.
    pub faults: Vec<Fault>,
    /// Milliseconds between two of them, at most.
    pub pause_ms: u64,
    /// How the network is.
    pub weather: Weather,
    /// Milliseconds that a disk takes at most.
    pub disk_ms: u32,
    /// Of a thousand steps of a task, how many wait for others.
    pub dither: u32,
    /// Heartbeats, elections, snapshots.
    pub timing: Timing,
}

impl Plan {
    /// What the seed stands for; `only` leaves out all other kinds of trouble.
    #[must_use]
    pub fn new(seed: u64, only: Option<&[Fault]>) -> Self {
        let mut dice = Dice::new(seed, "plan");
        // A few kinds at a time: all of them together would hide each other.
        let share = [200, 400, 700][dice.place(3)];
        let faults: Vec<Fault> = FAULTS.into_iter().filter(|_| dice.often(share)).collect();
        let faults = only.map_or(faults, <[Fault]>::to_vec);
        let slowest = [3, 10, 40][dice.place(3)];
        let weather = Weather { trip_ms: (0, slowest), lost: [0, 0, 10, 50][dice.place(4)], doubled: [0, 100][dice.place(2)] };
        let snapshot_entries = [40, 150, 1000][dice.place(3)];
        let timing = Timing {
            request: Duration::from_secs(4),
            snapshot_entries,
            keep_entries: dice.between(0, snapshot_entries / 2),
            max_proposals: 64,
            ..Timing::default()
        };
        Self {
            seed,
            members: [3, 3, 3, 5][dice.place(4)],
            clients: dice.place(4) + 2,
            keys: dice.between(2, 8),
            trouble: Duration::from_secs(dice.between(8, 20)),
            faults,
            pause_ms: [600, 1500, 4000][dice.place(3)],
            weather,
            disk_ms: [0, 3, 20][dice.place(3)],
            dither: [0, 20, 200][dice.place(3)],
            timing,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} members, {} clients, {} s of {:?}, trips of {}..{} ms, {} of 1000 lost, disks up to {} ms, dither {}, snapshots every {}",
            self.members,
            self.clients,
            self.trouble.as_secs(),
            self.faults,
            self.weather.trip_ms.0,
            self.weather.trip_ms.1,
            self.weather.lost,
            self.disk_ms,
            self.dither,
            self.timing.snapshot_entries
        )
    }
}
