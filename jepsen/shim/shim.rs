//! Stands between a member and the C library, to be loaded before it (LD_PRELOAD): slow and failing disks, a clock that is wrong.
//!
//! What to do is read from a page that the harness writes and that all of a member's processes map: see `page.rs`. Compiled by `build.rs`
//! as a library of its own; it must never allocate or look at the time where it stands in for the clock.

mod page;

use page::{CLOCK_OFFSET_NANOS, PAGE, SYNC_DELAY_MICROS, SYNC_ERROR, WRITE_ERROR};
use std::ffi::{c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const NANOS: i64 = 1_000_000_000;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: c_long,
}

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn mmap(address: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn nanosleep(time: *const Timespec, left: *mut Timespec) -> c_int;
    fn __errno_location() -> *mut c_int;
}

/// Not mapped yet, or the page. A process that has no page to map gets this one, where everything is zero.
static MAPPED: AtomicPtr<AtomicI64> = AtomicPtr::new(std::ptr::null_mut());
static NOTHING: [AtomicI64; 4] = [const { AtomicI64::new(0) }; 4];

fn page() -> *mut AtomicI64 {
    let mapped = MAPPED.load(Ordering::Acquire);
    if !mapped.is_null() {
        return mapped;
    }
    let mut found = NOTHING.as_ptr().cast_mut();
    // SAFETY: both strings end in NUL; getenv is called with no thread of ours that changes the environment. The mapping is shared, readable
    // and a whole page, and is never undone, so the pointer stays good; a failed mapping (all ones) is not used.
    unsafe {
        let path = getenv(c"JEPSEN_SHIM_PAGE".as_ptr());
        if !path.is_null() {
            let fd = open(path, 0);
            if fd >= 0 {
                let at = mmap(std::ptr::null_mut(), PAGE, 1, 1, fd, 0);
                close(fd);
                if at as isize != -1 {
                    found = at.cast();
                }
            }
        }
    }
    MAPPED.store(found, Ordering::Release);
    found
}

fn setting(place: usize) -> i64 {
    // SAFETY: the page holds at least four aligned numbers, wherever it came from, and stays.
    unsafe { (*page().add(place)).load(Ordering::Relaxed) }
}

/// The function that this one stands in for; found once.
fn real(cell: &AtomicUsize, name: &std::ffi::CStr) -> usize {
    const NEXT: isize = -1;
    match cell.load(Ordering::Acquire) {
        0 => {
            // SAFETY: RTLD_NEXT and a name that ends in NUL.
            let found = unsafe { dlsym(NEXT as *mut c_void, name.as_ptr()) } as usize;
            cell.store(found, Ordering::Release);
            found
        }
        found => found,
    }
}

fn fail(errno: i64) -> isize {
    // SAFETY: the thread's own errno.
    unsafe { *__errno_location() = errno as c_int };
    -1
}

/// Whether a descriptor is a file of the member's data: sockets, pipes and logs are left alone.
fn is_data(fd: c_int) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|path| path.to_string_lossy().contains("/data/"))
}

fn before_sync(fd: c_int) -> Option<isize> {
    let delay = setting(SYNC_DELAY_MICROS);
    if delay > 0 && is_data(fd) {
        let time = Timespec { seconds: delay / 1_000_000, nanos: (delay % 1_000_000 * 1000) as c_long };
        // SAFETY: a time on our stack, and no wish to know what is left of it.
        unsafe { nanosleep(&time, std::ptr::null_mut()) };
    }
    let error = setting(SYNC_ERROR);
    (error != 0 && is_data(fd)).then(|| fail(error))
}

fn before_write(fd: c_int) -> Option<isize> {
    let error = setting(WRITE_ERROR);
    (error != 0 && is_data(fd)).then(|| fail(error))
}

macro_rules! stand_in {
    ($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty, $before:ident) => {
        /// Stands in for the C library's function of the same name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(fd: c_int, $($argument: $kind),*) -> $answer {
            static REAL: AtomicUsize = AtomicUsize::new(0);
            if let Some(refused) = $before(fd) {
                return refused as $answer;
            }
            let name = concat!(stringify!($name), "\0");
            let name = std::ffi::CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
            // SAFETY: the C library's function of this name has this signature.
            let real: extern "C" fn(c_int, $($kind),*) -> $answer = unsafe { std::mem::transmute(real(&REAL, name)) };
            real(fd, $($argument),*)
        }
    };
}

stand_in!(fsync() -> c_int, before_sync);
stand_in!(fdatasync() -> c_int, before_sync);
stand_in!(write(buffer: *const c_void, length: usize) -> isize, before_write);
stand_in!(pwrite(buffer: *const c_void, length: usize, offset: i64) -> isize, before_write);
stand_in!(pwrite64(buffer: *const c_void, length: usize, offset: i64) -> isize, before_write);
stand_in!(writev(parts: *const c_void, count: c_int) -> isize, before_write);
stand_in!(fallocate(mode: c_int, offset: i64, length: i64) -> c_int, before_write);

/// Stands in for the C library's clock: the wall clock is off by what the page says, the others are right.
#[unsafe(no_mangle)]
pub extern "C" fn clock_gettime(clock: c_int, time: *mut c_void) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the C library's function of this name has this signature.
    let real: extern "C" fn(c_int, *mut c_void) -> c_int = unsafe { std::mem::transmute(real(&REAL, c"clock_gettime")) };
    let answer = real(clock, time);
    let offset = setting(CLOCK_OFFSET_NANOS);
    if answer == 0 && offset != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        // SAFETY: the caller gave room for a time, and the real function has just filled it.
        let time = unsafe { &mut *time.cast::<Timespec>() };
        let nanos = time.nanos as i64 + offset % NANOS;
        time.seconds += offset / NANOS + nanos.div_euclid(NANOS);
        time.nanos = nanos.rem_euclid(NANOS) as c_long;
    }
    answer
}

