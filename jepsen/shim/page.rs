//! The page by which the harness tells the library what to do: its length in bytes, and places in it of eight bytes each. Both sides are
//! compiled with this file.

pub const PAGE: usize = 4096;
pub const SYNC_DELAY_MICROS: usize = 0;
pub const SYNC_ERROR: usize = 1;
pub const WRITE_ERROR: usize = 2;
pub const CLOCK_OFFSET_NANOS: usize = 3;
