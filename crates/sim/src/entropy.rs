//! The randomness that Rust's standard library takes from the operating system, fixed.
//!
//! tokio wakes those who wait for one channel in an order that it rolls dice for, and it seeds them from the standard library's
//! `RandomState`, which asks `getrandom`. This one stands in for libc's in the programs that link this crate: threads that have
//! been given a seed get numbers that follow from it, all others get the kernel's. `RandomState` asks once a thread, so a
//! simulation runs on a thread of its own; tokio also counts its runtimes, so it runs in a process of its own.

use crate::dice::Dice;
use std::cell::RefCell;

thread_local! {
    static FIXED: RefCell<Option<Dice>> = const { RefCell::new(None) };
}

/// From now on this thread's randomness follows from `seed`.
pub fn fix(seed: u64) {
    FIXED.set(Some(Dice::new(seed, "entropy")));
}

/// What libc's `getrandom` does.
///
/// # Safety
/// `buffer` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> libc::ssize_t {
    let fixed = FIXED.try_with(|fixed| {
        let mut fixed = fixed.try_borrow_mut().ok()?;
        let dice = fixed.as_mut()?;
        // SAFETY: the caller's promise, above.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&dice.roll().to_le_bytes()[..chunk.len()]);
        }
        Some(())
    });
    if let Ok(Some(())) = fixed {
        return libc::ssize_t::try_from(length).unwrap_or(libc::ssize_t::MAX);
    }
    // SAFETY: the kernel checks what it is given; the buffer is the caller's.
    let read = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    libc::ssize_t::try_from(read).unwrap_or(-1)
}
