//! The pause program: the first process of every pod sandbox, made here so that a node needs no registry.
//!
//! It is a static ELF executable of a few hundred bytes, put together from machine code: it blocks
//! SIGINT, SIGTERM and SIGCHLD, waits for one of them, reaps children on SIGCHLD and exits with 0 on the others. No
//! signal handler is needed, and blocked signals reach even the first process of a PID namespace.

use std::collections::BTreeMap;

/// The name under which the pause image is imported and which containerd is told to use for sandboxes.
pub const IMAGE: &str = "tricorn.local/pause:1";

/// The architectures that the pause program exists for, by their OCI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// The architecture this binary was built for, if the pause program exists for it.
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// The name that OCI image configurations use.
    pub fn oci_name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

const LOAD_ADDRESS: u64 = 0x40_0000;
const ELF_HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const CODE_OFFSET: u64 = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;
/// SIGINT (2), SIGTERM (15) and SIGCHLD (17) as a kernel signal set: bit n-1 stands for signal n.
const SIGNALS: u64 = 1 << 1 | 1 << 14 | 1 << 16;

/// The whole executable file.
pub fn executable(architecture: Architecture) -> Vec<u8> {
    let (machine, code) = match architecture {
        Architecture::Amd64 => (62_u16, amd64_code()),
        Architecture::Arm64 => (183_u16, arm64_code()),
    };
    let size = CODE_OFFSET + code.len() as u64;
    let mut file = Vec::with_capacity(size as usize);
    // Identification: 64 bits, little endian, version 1, System V.
    file.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&2_u16.to_le_bytes()); // executable
    file.extend_from_slice(&machine.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&(LOAD_ADDRESS + CODE_OFFSET).to_le_bytes()); // entry
    file.extend_from_slice(&ELF_HEADER_BYTES.to_le_bytes()); // program headers
    file.extend_from_slice(&0_u64.to_le_bytes()); // no sections
    file.extend_from_slice(&0_u32.to_le_bytes());
    for half in [ELF_HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, 1, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    // One loadable segment, readable and executable.
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&5_u32.to_le_bytes());
    for word in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1_0000] {
        file.extend_from_slice(&u64::to_le_bytes(word));
    }
    file.extend_from_slice(&code);
    file
}

/// A place in the code that jumps can name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Wait,
    Reap,
    Exit,
    Signals,
}

/// x86-64: instructions as bytes, with 32-bit and 8-bit relative references filled in at the end.
#[derive(Default)]
struct Amd64 {
    bytes: Vec<u8>,
    labels: BTreeMap<Label, usize>,
    near: Vec<(usize, Label)>,
    short: Vec<(usize, Label)>,
}

impl Amd64 {
    fn emit(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn label(&mut self, label: Label) {
        self.labels.insert(label, self.bytes.len());
    }

    fn address_of(&mut self, instruction: &[u8], label: Label) {
        self.emit(instruction);
        self.near.push((self.bytes.len(), label));
        self.emit(&[0; 4]);
    }

    fn jump(&mut self, opcode: u8, label: Label) {
        self.emit(&[opcode]);
        self.short.push((self.bytes.len(), label));
        self.emit(&[0]);
    }

    fn syscall(&mut self, number: u32) {
        self.emit(&[0xb8]); // mov eax, number
        self.emit(&number.to_le_bytes());
        self.emit(&[0x0f, 0x05]);
    }

    fn finish(mut self) -> Vec<u8> {
        for (at, label) in &self.near {
            let target = self.labels.get(label).copied().unwrap_or_default();
            let distance = (target as i64 - (*at as i64 + 4)) as i32;
            self.bytes[*at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        for (at, label) in &self.short {
            let target = self.labels.get(label).copied().unwrap_or_default();
            self.bytes[*at] = (target as i64 - (*at as i64 + 1)) as i8 as u8;
        }
        self.bytes
    }
}

const JUMP: u8 = 0xeb;
const JUMP_EQUAL: u8 = 0x74;
const JUMP_GREATER: u8 = 0x7f;

fn amd64_code() -> Vec<u8> {
    let mut code = Amd64::default();
    // rt_sigprocmask(SIG_BLOCK, &signals, NULL, 8)
    code.emit(&[0x31, 0xff]); // xor edi, edi
    code.address_of(&[0x48, 0x8d, 0x35], Label::Signals); // lea rsi, [rip+signals]
    code.emit(&[0x31, 0xd2]); // xor edx, edx
    code.emit(&[0x41, 0xba, 8, 0, 0, 0]); // mov r10d, 8
    code.syscall(14);
    code.label(Label::Wait);
    // rt_sigtimedwait(&signals, NULL, NULL, 8)
    code.address_of(&[0x48, 0x8d, 0x3d], Label::Signals); // lea rdi, [rip+signals]
    code.emit(&[0x31, 0xf6, 0x31, 0xd2]); // xor esi, esi; xor edx, edx
    code.emit(&[0x41, 0xba, 8, 0, 0, 0]);
    code.syscall(128);
    code.emit(&[0x83, 0xf8, 17]); // cmp eax, SIGCHLD
    code.jump(JUMP_EQUAL, Label::Reap);
    code.emit(&[0x83, 0xf8, 15]); // cmp eax, SIGTERM
    code.jump(JUMP_EQUAL, Label::Exit);
    code.emit(&[0x83, 0xf8, 2]); // cmp eax, SIGINT
    code.jump(JUMP_EQUAL, Label::Exit);
    code.jump(JUMP, Label::Wait);
    code.label(Label::Reap);
    // wait4(-1, NULL, WNOHANG, NULL) until there is nobody left
    code.emit(&[0x83, 0xcf, 0xff]); // or edi, -1
    code.emit(&[0x31, 0xf6]);
    code.emit(&[0xba, 1, 0, 0, 0]); // mov edx, WNOHANG
    code.emit(&[0x45, 0x31, 0xd2]); // xor r10d, r10d
    code.syscall(61);
    code.emit(&[0x85, 0xc0]); // test eax, eax
    code.jump(JUMP_GREATER, Label::Reap);
    code.jump(JUMP, Label::Wait);
    code.label(Label::Exit);
    code.emit(&[0x31, 0xff]);
    code.syscall(60);
    code.label(Label::Signals);
    code.emit(&SIGNALS.to_le_bytes());
    code.finish()
}

/// 64-bit ARM: instructions as words, with references filled in at the end.
#[derive(Default)]
struct Arm64 {
    words: Vec<u32>,
    labels: BTreeMap<Label, usize>,
    references: Vec<(usize, Label, Reference)>,
}

#[derive(Clone, Copy)]
enum Reference {
    /// `adr`: a byte distance in two pieces.
    Address,
    /// `b`: a word distance of 26 bits.
    Jump,
    /// `b.cond`: a word distance of 19 bits.
    Conditional,
}

impl Arm64 {
    fn emit(&mut self, word: u32) {
        self.words.push(word);
    }

    /// `mov xN, value`
    fn set(&mut self, register: u32, value: u32) {
        self.emit(0xd280_0000 | value << 5 | register);
    }

    fn label(&mut self, label: Label) {
        self.labels.insert(label, self.words.len());
    }

    fn refer(&mut self, word: u32, label: Label, reference: Reference) {
        self.references.push((self.words.len(), label, reference));
        self.emit(word);
    }

    fn syscall(&mut self, number: u32) {
        self.set(8, number);
        self.emit(0xd400_0001);
    }

    /// `cmp w0, value; b.eq label`
    fn when_equal(&mut self, value: u32, label: Label) {
        self.emit(0x7100_001f | value << 10);
        self.refer(0x5400_0000, label, Reference::Conditional);
    }

    fn finish(mut self) -> Vec<u8> {
        for (at, label, reference) in &self.references {
            let target = self.labels.get(label).copied().unwrap_or_default();
            let words = target as i64 - *at as i64;
            self.words[*at] |= match reference {
                Reference::Address => {
                    let bytes = (words * 4) as u32;
                    (bytes & 3) << 29 | ((bytes >> 2) & 0x7_ffff) << 5
                }
                Reference::Jump => words as u32 & 0x03ff_ffff,
                Reference::Conditional => (words as u32 & 0x7_ffff) << 5,
            };
        }
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

fn arm64_code() -> Vec<u8> {
    let mut code = Arm64::default();
    code.set(0, 0);
    code.refer(0x1000_0001, Label::Signals, Reference::Address); // adr x1, signals
    code.set(2, 0);
    code.set(3, 8);
    code.syscall(135); // rt_sigprocmask
    code.label(Label::Wait);
    code.refer(0x1000_0000, Label::Signals, Reference::Address); // adr x0, signals
    code.set(1, 0);
    code.set(2, 0);
    code.set(3, 8);
    code.syscall(137); // rt_sigtimedwait
    code.when_equal(17, Label::Reap);
    code.when_equal(15, Label::Exit);
    code.when_equal(2, Label::Exit);
    code.refer(0x1400_0000, Label::Wait, Reference::Jump);
    code.label(Label::Reap);
    code.emit(0x9280_0000); // mov x0, -1
    code.set(1, 0);
    code.set(2, 1);
    code.set(3, 0);
    code.syscall(260); // wait4
    code.emit(0x7100_001f); // cmp w0, 0
    code.refer(0x5400_000c, Label::Reap, Reference::Conditional); // b.gt
    code.refer(0x1400_0000, Label::Wait, Reference::Jump);
    code.label(Label::Exit);
    code.set(0, 0);
    code.syscall(93);
    code.label(Label::Signals);
    code.emit(SIGNALS as u32);
    code.emit((SIGNALS >> 32) as u32);
    code.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn both_architectures_have_a_file_with_the_right_machine_in_its_header() {
        for (architecture, machine) in [(Architecture::Amd64, 62), (Architecture::Arm64, 183)] {
            let file = executable(architecture);
            assert_eq!(&file[..4], b"\x7fELF");
            assert_eq!(u16::from_le_bytes([file[18], file[19]]), machine);
            assert!(file.len() < 400, "{} bytes", file.len());
        }
    }

    #[test]
    fn it_waits_until_it_is_told_to_end_and_then_ends_with_zero() {
        let Some(architecture) = Architecture::host() else {
            eprintln!("skipped: no pause program for this architecture");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path).unwrap();
            file.write_all(&executable(architecture)).unwrap();
            file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut child = Command::new(&path).stdin(Stdio::null()).spawn().unwrap();
        // It blocks its signals before it waits: only then is SIGTERM its own to take.
        let status = format!("/proc/{}/status", child.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(&status).unwrap_or_default().contains("SigBlk:\t0000000000014002") {
            // While it waits, the kernel moves the mask away; the wait shows in its state instead.
            let wchan = std::fs::read_to_string(format!("/proc/{}/syscall", child.id()));
            if wchan.is_ok_and(|text| text.starts_with("128 ") || text.starts_with("137 ")) {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(Instant::now() < deadline, "it never came to wait");
            std::thread::yield_now();
        }
        assert!(child.try_wait().unwrap().is_none());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    }
}
