//! The program as it is called: its exit codes, what it refuses, and what it leaves when nobody reads or somebody ends it.

use std::{
    fs::{self, File},
    io::Read,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use loadtest::{
    smsc::Profile,
    stage::{Provider, program::until},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn loadtest(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for its end, which has to come.
fn end(mut child: Child) -> Output {
    let ended = until(PATIENCE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_some(), "it ends: {output:?}");
    output
}

fn run(arguments: &str) -> (Option<i32>, String) {
    let output = end(loadtest(arguments).spawn().unwrap());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn send(signal: Signal, child: &Child) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn provider(profile: Profile) -> Provider {
    Provider::start("127.0.0.1:0".parse().unwrap(), profile).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn what_makes_no_sense_is_refused_with_2_before_anything_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let (profile, plain) = (directory.path().join("profile"), directory.path().join("plain.md"));
    fs::write(&profile, "latency = { fixed = -1 }\n").unwrap();
    fs::write(&plain, "no table here\n").unwrap();
    let (profile, plain) = (profile.display(), plain.display());
    for (arguments, said) in [
        ("smpp --prefix abc", "the prefix must be"),
        ("http --prefix abc", "the prefix must be"),
        ("smpp --first 99999999 --count 2", "there are only"),
        ("http --first 99999999 --count 2", "there are only"),
        ("http --target nonsense", "nonsense is no address"),
        ("suite --only nothing", "there is no row nothing"),
        ("smpp --json /no/such/file", "/no/such/file: No such file"),
        ("http --report /no/such/file", "/no/such/file: No such file"),
        ("compare --json /no/such/file", "/no/such/file: No such file"),
        ("suite --json /no/such/file", "/no/such/file: No such file"),
        ("suite --write /no/such/file", "/no/such/file: No such file"),
        (&format!("suite --write {plain}"), "plain.md: no markers"),
        ("smpp --watch-pid 4294967295", "there is no such process"),
        ("smpp --watch-dir /no/such/directory", "there is no such directory"),
        ("http --watch-metrics 127.0.0.1:1", "no /metrics there"),
        (&format!("smsc --profile {profile}"), "latency = -1 is no time"),
    ] {
        let (code, text) = run(arguments);
        assert_eq!((code, text.contains(said)), (Some(2), true), "{arguments}: {text}");
    }
}

#[test]
fn a_run_of_which_nothing_was_accepted_fails_and_one_with_some_refusals_does_not() {
    for (refusals, code) in [(0.2, 0), (1.0, 1)] {
        let provider = provider(Profile { refusals, refusal_statuses: vec![0x0B], ..Profile::default() });
        let work = format!("smpp --quiet --target {} --count 100", provider.handle.address());
        assert_eq!(run(&work), (Some(code), String::new()), "{refusals}");
    }
}

#[test]
fn what_was_measured_is_written_when_nobody_reads_what_is_said() {
    let provider = provider(Profile::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("figures.json");
    let work =
        format!("smpp --quiet --count 100 --target {} --json {}", provider.handle.address(), path.display());
    let mut child = loadtest(&work).spawn().unwrap();
    drop(child.stdout.take());
    let output = end(child);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.as_str()), (Some(0), ""));
    assert_eq!(json(&path)["accepted"], 100);

    fs::remove_file(&path).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = end(loadtest(&work).stdout(full).spawn().unwrap());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("loadtest: standard output cannot be written: No space left"), "{text}");
    assert_eq!(json(&path)["accepted"], 100);
}

#[test]
fn a_generator_that_is_told_to_end_says_and_writes_what_it_has_done() {
    let provider = provider(Profile::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("figures.json");
    let work = format!("--quiet --rate 500 --count 10000000 --json {}", path.display());
    let target = provider.handle.address();
    let child = loadtest(&format!("smpp {work} --target {target}")).spawn().unwrap();
    until(PATIENCE, || (provider.handle.counts().accepted > 0).then_some(())).unwrap();
    send(Signal::TERM, &child);
    let output = end(child);
    let figures = json(&path);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("ended by a signal"));
    assert_eq!((&figures["interrupted"], &figures["timed_out"]), (&true.into(), &false.into()));
    assert!(figures["accepted"].as_u64() > Some(0), "{figures}");

    // Over HTTP against a server that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let child = loadtest(&format!("http {work} --target http://{target} --connections 1")).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
    send(Signal::INT, &child);
    let output = end(child);
    let figures = json(&path);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&figures["interrupted"], &figures["unanswered"]), (&true.into(), &1.into()));
}

/// A program that says who it is in a file `pid` where it is started, and never becomes ready.
fn never_ready(directory: &Path) -> PathBuf {
    let path = directory.join("gateway");
    fs::write(&path, "#!/bin/sh\necho $$ > pid.new && mv pid.new pid\nexec tail -f /dev/null\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_suite_that_is_told_to_end_leaves_no_gateway_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (program, stage) = (never_ready(directory.path()), directory.path().join("stage"));
    let work = format!("suite --only smpp --gateway {} --directory {}", program.display(), stage.display());
    let child = loadtest(&work).spawn().unwrap();
    let pid = || fs::read_to_string(stage.join("run-1/pid")).ok();
    let pid: u32 = until(PATIENCE, pid).unwrap().trim().parse().unwrap();
    send(Signal::TERM, &child);
    let output = end(child);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // It is nobody's child any more, and whoever takes it over may take a moment.
    let stat = || fs::read_to_string(format!("/proc/{pid}/stat"));
    let has_gone = || stat().map_or(true, |stat| stat.contains(") Z ")).then_some(());
    assert!(until(PATIENCE, has_gone).is_some(), "the gateway still runs");
}
