//! The HTTP generator against a small server of the test, which answers as Tidegate would.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// What the server has seen: how often each destination was taken, and how often each id was asked for.
#[derive(Default)]
struct Seen {
    taken: BTreeMap<String, u32>,
    tries: BTreeMap<String, u32>,
    asked: BTreeMap<String, u32>,
}

/// Answers a message by its destination and by how often it was tried.
type Judge = fn(to: &str, tried: u32) -> (u16, Value);

fn accept(to: &str, _: u32) -> (u16, Value) {
    (202, json!({"id": to.trim_start_matches("+2547"), "status": "queued", "to": to}))
}

/// Runs the generator against a server with this judge.
fn against(judge: Judge, options: Options) -> (Summary, Arc<Mutex<Seen>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, judge, Arc::clone(&shared)));
        }
    });
    let timeout = options.timeout.min(2.0);
    let quick = Options { target, quiet: true, connections: 4, timeout, text_length: 20, ..options };
    (run(quick).unwrap().summary, seen)
}

async fn serve(mut stream: TcpStream, judge: Judge, seen: Arc<Mutex<Seen>>) {
    let mut input = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut input).await {
        let (status, answer) = answer(&head, &body, judge, &seen);
        if status == 0 {
            return;
        }
        let text = if answer.is_null() { String::new() } else { answer.to_string() };
        // Both ways to end a body are to be understood: batches come in chunks here.
        let response = if answer.get("data").is_some() {
            let (first, second) = text.split_at(text.len() / 2);
            let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
            let chunks = [first, second].map(chunk).concat();
            format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
        } else {
            format!("HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        };
        stream.write_all(response.as_bytes()).await.unwrap();
    }
}

async fn read_request(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(input[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
                .unwrap_or(0);
            if input.len() >= end + 4 + length {
                let body = input[end + 4..end + 4 + length].to_vec();
                input.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(input).await.ok()? == 0 {
            return None;
        }
    }
}

fn answer(head: &str, body: &[u8], judge: Judge, seen: &Mutex<Seen>) -> (u16, Value) {
    let mut seen = seen.lock().unwrap();
    if let Some(path) = head.strip_prefix("GET /v1/messages/") {
        let id = path.split(' ').next().unwrap().to_owned();
        let asked = seen.asked.entry(id.clone()).or_default();
        *asked += 1;
        let state = if *asked > 1 && id != "never" { "delivered" } else { "sent" };
        return (200, json!({"id": id, "status": state}));
    }
    let request: Value = serde_json::from_slice(body).unwrap();
    let mut judged = |message: &Value| {
        let to = message["to"].as_str().unwrap().to_owned();
        let tried = seen.tries.entry(to.clone()).or_default();
        *tried += 1;
        let (status, answer) = judge(&to, *tried);
        if status == 202 {
            *seen.taken.entry(to).or_default() += 1;
        }
        (status, answer)
    };
    let Some(messages) = request.get("messages").and_then(Value::as_array) else {
        return judged(&request);
    };
    let answers: Vec<(u16, Value)> = messages.iter().map(&mut judged).collect();
    let accepted = answers.iter().filter(|(status, _)| *status == 202).count();
    let data: Vec<Value> = answers.into_iter().map(|(_, answer)| answer).collect();
    (202, json!({"accepted": accepted, "refused": data.len() - accepted, "data": data}))
}

#[test]
fn single_messages_and_batches_are_each_taken_once() {
    for (batch, count) in [(1, 200), (50, 1_020)] {
        let (summary, seen) = against(accept, Options { batch, count, ..Options::default() });
        assert_eq!(
            (summary.accepted, summary.duplicates, summary.unanswered),
            (u64::from(count), 0, 0),
            "{summary}"
        );
        let seen = seen.lock().unwrap();
        assert_eq!(seen.taken.len(), count as usize);
        assert!(seen.taken.values().all(|times| *times == 1));
    }
}

#[test]
fn refusals_are_counted_by_code_and_answers_not_now_are_tried_again() {
    let judge: Judge = |to, tried| match to.as_bytes().last() {
        Some(b'1') => (402, json!({"code": "insufficient_credit"})),
        Some(b'2' | b'3') if tried < 3 => (429, json!({"code": "rate_limited"})),
        _ => accept(to, tried),
    };
    for batch in [1, 10] {
        let (summary, _) = against(judge, Options { batch, count: 100, ..Options::default() });
        assert_eq!((summary.accepted, summary.throttled), (90, 40), "{summary}");
        assert_eq!(summary.refused["insufficient_credit"], 10);
    }
}

#[test]
fn a_connection_closed_in_an_exchange_leaves_its_messages_unanswered() {
    let judge: Judge = |to, tried| {
        if to.ends_with("07") { (0, Value::Null) } else { accept(to, tried) }
    };
    let (summary, _) = against(judge, Options { count: 100, ..Options::default() });
    assert_eq!((summary.accepted, summary.unanswered, summary.disconnects), (99, 1, 1), "{summary}");
}

/// Runs the generator on a thread of its own, so that a run without end is a failure and not a test without end.
fn bounded(options: Options) -> Summary {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || drop(sender.send(run(options).unwrap().summary)));
    receiver.recv_timeout(Duration::from_secs(30)).expect("the run ends")
}

#[test]
fn a_gateway_that_is_gone_ends_the_run_when_its_time_is_over() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    // It takes the connections of the start, reads a request on each, and is never seen again.
    runtime.spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push(listener.accept().await.unwrap().0);
        }
        drop(listener);
        for mut stream in streams {
            assert!(read_request(&mut stream, &mut Vec::new()).await.is_some());
        }
    });
    let options = Options { target, quiet: true, connections: 2, timeout: 0.5, ..Options::default() };
    let summary = bounded(Options { count: 100, ..options });
    assert_eq!((summary.unanswered, summary.disconnects, summary.throttled), (2, 2, 0), "{summary}");
    assert!(summary.timed_out);
}

#[test]
fn one_id_for_two_messages_is_a_duplicate() {
    let judge: Judge = |_, _| (202, json!({"id": "42"}));
    let (summary, _) = against(judge, Options { count: 3, ..Options::default() });
    assert_eq!((summary.duplicates, summary.is_clean()), (2, false));
}

#[test]
fn a_sample_is_asked_for_until_it_is_final() {
    let (summary, seen) = against(accept, Options { count: 100, poll: 10, ..Options::default() });
    assert_eq!((summary.receipts["delivered"], summary.lost), (10, 0));
    assert!(seen.lock().unwrap().asked.values().all(|times| *times == 2));
}

#[test]
fn the_sample_of_a_run_of_seconds_is_as_large_as_asked_for() {
    let (summary, _) = against(accept, Options { seconds: Some(0.3), poll: 7, ..Options::default() });
    assert_eq!((summary.receipts["delivered"], summary.lost), (7, 0), "{summary}");
}

#[test]
fn a_poll_keeps_what_the_callbacks_have_said_and_adds_what_it_finds() {
    // Nobody is called back, and one of them is never final.
    let judge: Judge = |to, _| match to.ends_with("19") {
        true => (202, json!({"id": "never", "status": "queued"})),
        false => accept(to, 0),
    };
    let options = Options { timeout: 0.5, count: 20, callback: true, poll: 20, ..Options::default() };
    let (summary, _) = against(judge, options);
    assert_eq!((summary.lost, summary.receipts["delivered"], summary.timed_out), (20, 19, true), "{summary}");
    let (summary, _) = against(judge, Options { timeout: 0.5, count: 20, poll: 20, ..Options::default() });
    assert_eq!((summary.lost, summary.receipts["delivered"], summary.timed_out), (1, 19, true), "{summary}");
}

#[test]
fn a_connection_that_the_server_closed_while_it_was_idle_is_opened_again_and_nothing_is_sent_on_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    // It answers one request on each connection and closes it, without saying so in the answer.
    runtime.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Mutex::new(Seen::default());
            let (head, body) = read_request(&mut stream, &mut Vec::new()).await.unwrap();
            let (_, answer) = answer(&head, &body, accept, &seen);
            let text = answer.to_string();
            let response = format!("HTTP/1.1 202 X\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    let options = Options { target, quiet: true, connections: 1, rate: Some(20.0), ..Options::default() };
    let summary = bounded(Options { count: 8, ..options });
    assert_eq!((summary.accepted, summary.unanswered, summary.disconnects), (8, 0, 0), "{summary}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    for target in ["127.0.0.1:8080", "https://127.0.0.1:8080", "http://127.0.0.1", "http://a:1/path"] {
        let result = run(Options { target: target.into(), ..Options::default() });
        assert!(matches!(result, Err(RunError::Target(_))), "{target}");
    }
}

/// A Kannel of the test: takes every message and calls each back as often as `times` says, in batches on one connection.
async fn kannel(listener: TcpListener, times: fn(u32) -> usize) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut input, mut callback) = (Vec::new(), None);
            while let Some((head, _)) = read_request(&mut stream, &mut input).await {
                stream
                    .write_all(
                        b"HTTP/1.1 202 Accepted\r\nContent-Length: 25\r\n\r\n0: Accepted for delivery.",
                    )
                    .await
                    .unwrap();
                let query = head.split_once('?').unwrap().1.split(' ').next().unwrap();
                let url = query.split('&').find_map(|pair| pair.strip_prefix("dlr-url=")).unwrap();
                let url = url.replace("%3A", ":").replace("%2F", "/").replace("%3F", "?").replace("%3D", "=");
                let url = url.replace("%26", "&").replace("%25d", "1");
                let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
                let serial: u32 = path[path.len() - 8..].parse().unwrap();
                if callback.is_none() {
                    callback = Some(TcpStream::connect(address).await.unwrap());
                }
                let request =
                    format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(times(serial));
                let callback = callback.as_mut().unwrap();
                callback.write_all(request.as_bytes()).await.unwrap();
            }
        });
    }
}

fn against_kannel(times: fn(u32) -> usize, timeout: f64) -> Summary {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(kannel(listener, times));
    let options = Options { target, door: Door::Kannel, callback: true, timeout, ..Options::default() };
    run(Options { count: 100, quiet: true, connections: 4, text_length: 20, ..options }).unwrap().summary
}

#[test]
fn messages_at_kannels_door_are_finished_by_their_callbacks() {
    let summary = against_kannel(|_| 1, 5.0);
    assert_eq!((summary.accepted, summary.receipts["DELIVRD"], summary.is_clean()), (100, 100, true));
    assert!(!summary.timed_out);
}

#[test]
fn callbacks_that_are_missing_or_come_twice_are_found() {
    let summary = against_kannel(
        |serial| match serial {
            7 => 0,
            9 => 2,
            _ => 1,
        },
        0.5,
    );
    assert_eq!((summary.accepted, summary.lost, summary.duplicates), (100, 1, 1));
    assert!(summary.timed_out);
}

#[test]
fn questions_are_asked_at_their_rate_and_each_is_measured() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, accept, Arc::clone(&shared)));
        }
    });
    let paths: Vec<String> = (0..100).map(|id| format!("/v1/messages/{id}")).collect();
    let questions = Questions { address, key: "tg_live_x".into(), rate: 1_000.0 };
    let began = std::time::Instant::now();
    assert_eq!(read_latency(&questions, &paths).unwrap().samples, 100);
    assert!(began.elapsed() >= Duration::from_millis(99));
    assert_eq!(seen.lock().unwrap().asked.len(), 100);
}
