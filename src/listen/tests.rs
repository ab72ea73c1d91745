//! The listener from outside: real sockets, and one in memory where time has to pass.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};

use super::*;

fn answering() -> Router {
    Router::new().route("/", axum::routing::get(async || "fine"))
}

fn conversation(counters: &Arc<ServerCounters>) -> Arc<Conversation> {
    let pass = Gate::new(1, 1, Arc::clone(counters)).enter([127, 0, 0, 1].into()).unwrap();
    Conversation::new(pass, Arc::clone(counters))
}

/// How long a connection lasts that sends this and is silent then, and what it is answered.
async fn lasts(sent: &[u8]) -> (Duration, String) {
    let (_phase, phases) = Phases::channel();
    let (mut peer, ours) = duplex(4_096);
    peer.write_all(sent).await.unwrap();
    let began = Instant::now();
    let served =
        converse(ours, ([127, 0, 0, 1], 1).into(), answering(), phases, conversation(&Arc::default()));
    let mut answer = String::new();
    let ((), read) = tokio::join!(served, peer.read_to_string(&mut answer));
    read.unwrap();
    (began.elapsed(), answer)
}

#[tokio::test(start_paused = true)]
async fn the_first_request_has_ten_seconds_and_silence_after_it_thirty() {
    for unfinished in [&b""[..], b"GET / HTTP/1.1\r\nhost:"] {
        assert_eq!(lasts(unfinished).await.0.as_secs(), 10, "{}", unfinished.escape_ascii());
    }
    let (lasted, answer) = lasts(ASKED).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine"), "{answer}");
    assert_eq!(lasted.as_secs(), 30);
}

#[tokio::test]
async fn a_silent_crowd_keeps_nobody_out_and_does_not_hold_the_end_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (phase, phases) = Phases::channel();
    let serving = tokio::spawn(serve(listener, answering(), None, 4, Arc::default(), phases));
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("fine"), "{answer}");
    phase.send(Phase::Closing).unwrap();
    tokio::time::timeout(BEGINNING / 2, serving).await.unwrap().unwrap();
}

/// A listener for so many connections.
struct Listening {
    address: SocketAddr,
    counters: Arc<ServerCounters>,
    phase: tokio::sync::watch::Sender<Phase>,
    serving: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn start(router: Router, connections_max: usize) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (phase, phases) = Phases::channel();
        let counters = Arc::<ServerCounters>::default();
        let serving =
            tokio::spawn(serve(listener, router, None, connections_max, Arc::clone(&counters), phases));
        Listening { address, counters, phase, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// From another address of this machine.
    async fn connect_from(&self, from: &str) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.phase.send(Phase::Closing).unwrap();
        tokio::time::timeout(BEGINNING / 2, self.serving).await.unwrap().unwrap();
    }
}

/// The next answer, which is `fine`; false when the connection is closed.
async fn is_answered(client: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    while !answer.ends_with(b"fine") {
        if matches!(client.read_buf(&mut answer).await, Ok(0) | Err(_)) {
            return false;
        }
    }
    true
}

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_crowd_that_has_been_answered_and_rests_keeps_nobody_out() {
    let listening = Listening::start(answering(), 4).await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut client = listening.connect().await;
        client.write_all(ASKED).await.unwrap();
        assert!(is_answered(&mut client).await);
        crowd.push(client);
    }
    let mut newest = listening.connect().await;
    newest.write_all(ASKED).await.unwrap();
    assert!(is_answered(&mut newest).await, "whoever comes is answered");
    let mut octet = [0];
    assert_eq!(crowd[0].read(&mut octet).await.unwrap(), 0, "the one that rested longest is closed");
    crowd[1].write_all(ASKED).await.unwrap();
    assert!(is_answered(&mut crowd[1]).await, "and no other");
    assert_eq!((listening.counters.snapshot().pushed_out, listening.counters.snapshot().turned_away), (1, 0));
    listening.end().await;
}

#[tokio::test]
async fn a_crowd_in_the_middle_of_its_requests_keeps_no_other_address_out() {
    let (begun, mut begins) = tokio::sync::mpsc::channel(10);
    let waits = async move || {
        begun.send(()).await.unwrap();
        std::future::pending::<&'static str>().await
    };
    let listening = Listening::start(answering().route("/slow", axum::routing::get(waits)), 4).await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut client = listening.connect().await;
        client.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        begins.recv().await.unwrap();
        crowd.push(client);
    }
    let mut one_more = listening.connect().await;
    let _ = one_more.write_all(ASKED).await;
    assert!(!is_answered(&mut one_more).await, "nobody loses an answer for its own address");
    let mut other = listening.connect_from("127.0.0.2:0").await;
    other.write_all(ASKED).await.unwrap();
    assert!(is_answered(&mut other).await);
    assert!(!is_answered(&mut crowd[0]).await, "that which was in its request longest");
    assert_eq!((listening.counters.snapshot().pushed_out, listening.counters.snapshot().turned_away), (1, 1));
    listening.serving.abort();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_answer_is_cut_off() {
    let long = || async { vec![b'x'; 1 << 20] };
    let router = Router::new().route("/", axum::routing::get(long));
    let counters = Arc::<ServerCounters>::default();
    let (_phase, phases) = Phases::channel();
    let (mut peer, ours) = duplex(4_096);
    peer.write_all(ASKED).await.unwrap();
    let began = Instant::now();
    converse(ours, ([127, 0, 0, 1], 1).into(), router, phases, conversation(&counters)).await;
    assert_eq!((began.elapsed().as_secs(), counters.snapshot().slow_readers), (10, 1));
    let mut octets = Vec::new();
    peer.read_to_end(&mut octets).await.unwrap();
    assert_eq!(octets.len(), 4_096);
}

/// What becomes of a request whose client ends its half before it is answered: how long its connection lasts, and what it is answered.
async fn after_its_end(method: &str, body: &str, answers_after: Duration) -> (Duration, String) {
    let slow = async move || {
        let _ = tokio::time::timeout(answers_after, std::future::pending::<()>()).await;
        "fine"
    };
    let takes_all = async move |_: String| slow().await;
    let router = Router::new().route("/", axum::routing::get(slow).post(takes_all).delete(slow));
    let (_phase, phases) = Phases::channel();
    let (mut peer, ours) = duplex(4_096);
    let length = body.len();
    let asked = format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    peer.write_all(asked.as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    let began = Instant::now();
    converse(ours, ([127, 0, 0, 1], 1).into(), router, phases, conversation(&Arc::default())).await;
    let lasted = began.elapsed();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    (lasted, answer)
}

#[tokio::test(start_paused = true)]
async fn what_may_only_be_read_is_given_up_soon_after_its_client_has_ended_and_what_changes_something_is_not()
{
    for (method, body, seconds, lasts, is_answered) in [
        ("GET", "", 4, 4, true),
        ("GET", "", 60, 5, false),
        ("POST", "", 4, 4, true),
        ("POST", "", 60, 60, true),
        ("POST", "{}", 60, 60, true),
        // Nobody reads these bodies.
        ("GET", "{}", 4, 4, true),
        ("DELETE", "{}", 4, 4, true),
    ] {
        let (lasted, answer) = after_its_end(method, body, Duration::from_secs(seconds)).await;
        assert_eq!(
            (lasted.as_secs(), answer.ends_with("fine")),
            (lasts, is_answered),
            "{method} {body} {seconds}: {answer}"
        );
    }
}

/// A connection whose peer is gone without a word, as it is seen over TLS.
struct Gone(tokio::io::DuplexStream);

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(context, room))?;
        Poll::Ready(match room.filled().len() {
            same if same == before => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        })
    }
}

impl AsyncWrite for Gone {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_has_begun_is_done_though_its_client_is_gone() {
    for (method, is_done) in [("POST", true), ("GET", false)] {
        let done = Arc::new(AtomicBool::new(false));
        let notes = Arc::clone(&done);
        let slow = async move || {
            let _ = tokio::time::timeout(HEAD_TIMEOUT, std::future::pending::<()>()).await;
            notes.store(true, Relaxed);
        };
        let router = Router::new().route("/", axum::routing::get(slow.clone()).post(slow));
        let (_phase, phases) = Phases::channel();
        let (mut peer, ours) = duplex(4_096);
        let asked = format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        peer.write_all(asked.as_bytes()).await.unwrap();
        drop(peer);
        converse(Gone(ours), ([127, 0, 0, 1], 1).into(), router, phases, conversation(&Arc::default())).await;
        assert_eq!(done.load(Relaxed), is_done, "{method}");
    }
}

/// A peer that takes its answer slowly is seen to take it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn there_is_room_again_for_an_answer_when_little_of_it_was_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    configure(&ours).unwrap();
    let octets = vec![b'x'; 1 << 20];
    let mut most = 0;
    for _ in 0..20 {
        ours.writable().await.unwrap();
        while ours.try_write(&octets).is_ok() {}
        let mut taken = 0;
        let mut piece = [0; 4 << 10];
        loop {
            tokio::select! {
                biased;
                writable = ours.writable() => break writable.unwrap(),
                count = peer.read(&mut piece) => taken += count.unwrap(),
            }
        }
        most = most.max(taken);
    }
    assert!(most <= 512 << 10, "{most} octets were taken before there was room again");
}

#[tokio::test]
async fn who_has_said_all_is_answered_though_it_says_so() {
    let (begun, mut begins) = tokio::sync::mpsc::channel(1);
    let (answers, answer) = tokio::sync::watch::channel(false);
    let waits = async move || {
        begun.send(()).await.unwrap();
        let _ = answer.clone().wait_for(|may_answer| *may_answer).await;
        "fine"
    };
    let router = Router::new().route("/", axum::routing::get(waits));
    let (_phase, phases) = Phases::channel();
    let (mut peer, ours) = duplex(4_096);
    let served = converse(ours, ([127, 0, 0, 1], 1).into(), router, phases, conversation(&Arc::default()));
    let asking = async {
        peer.write_all(ASKED).await.unwrap();
        begins.recv().await.unwrap();
        // The end is there to be seen before the answer is.
        peer.shutdown().await.unwrap();
        answers.send(true).unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("fine"), "{answer}");
    };
    tokio::join!(served, asking);
}

#[tokio::test]
async fn who_is_refused_early_sees_the_answer_after_it_has_sent_all() {
    let listening = Listening::start(answering(), 4).await;
    let mut client = listening.connect().await;
    let head = b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 17000000\r\n\r\n";
    client.write_all(head).await.unwrap();
    client.write_all(&vec![b'x'; 17_000_000]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    drop(client);
    listening.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_waited_for_five_seconds() {
    let (lasted, answer) = lasts(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(lasted.as_secs(), 5);
    let (lasted, answer) = lasts(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("fine"), "{answer}");
    assert_eq!(lasted.as_secs(), 0, "nothing is to come");
}

#[tokio::test(start_paused = true)]
async fn a_request_names_its_host_once() {
    for (sent, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost:\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ] {
        let (_, answer) = lasts(sent).await;
        assert!(answer.get(9..).is_some_and(|rest| rest.starts_with(&status.to_string())), "{answer}");
        assert_eq!(answer.contains("application/problem+json") && answer.contains("`Host`"), status == 400);
    }
}
