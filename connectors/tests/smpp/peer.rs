//! The other side of a connection, one step at a time: it sends what it is told, well formed or not, and reads one PDU.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use codecs::smpp::pdu::{Bind, Header, SmeAddress};
use codecs::smpp::write::{self, SmFields};
use codecs::smpp::{BindKind, Command, Status};
use socket2::{Domain, Socket, Type};

use crate::house::DEADLINE;

pub struct Peer {
    pub stream: TcpStream,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Pdu {
    pub command: Command,
    pub status: Status,
    pub sequence: u32,
    pub body: Vec<u8>,
}

impl Pdu {
    /// What a response says, without its body.
    pub fn head(&self) -> (Command, Status, u32) {
        (self.command, self.status, self.sequence)
    }
}

impl Peer {
    pub fn of(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Peer { stream }
    }

    pub fn connect(address: SocketAddr) -> Peer {
        Peer::of(TcpStream::connect(address).unwrap())
    }

    /// From another address of this host, or with a small receive buffer.
    pub fn connect_from(local: [u8; 4], address: SocketAddr, receive_octets: Option<usize>) -> Peer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(octets) = receive_octets {
            socket.set_recv_buffer_size(octets).unwrap();
        }
        socket.bind(&SocketAddr::from((local, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Peer::of(TcpStream::from(socket))
    }

    /// Connected and bound.
    pub fn bound(address: SocketAddr, kind: BindKind) -> Peer {
        let mut peer = Peer::connect(address);
        assert_eq!(peer.bind(kind, "acme", "secret").status, Status::OK);
        peer
    }

    pub fn bind(&mut self, kind: BindKind, system_id: &str, password: &str) -> Pdu {
        self.send(&bind_frame(kind, 1, system_id, password));
        self.read()
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// Says nothing more, and still reads.
    pub fn end_half(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub fn send_pdu(&mut self, command: Command, status: Status, sequence: u32, body: &[u8]) {
        self.send(&frame(command, status, sequence, body));
    }

    /// The next PDU that is no enquire_link; those are answered.
    pub fn read(&mut self) -> Pdu {
        loop {
            let pdu = self.read_any().expect("a PDU, not the end");
            if pdu.command != Command::ENQUIRE_LINK {
                return pdu;
            }
            self.send_pdu(Command::ENQUIRE_LINK_RESP, Status::OK, pdu.sequence, &[]);
        }
    }

    /// The next PDU, or `None` at the end of the connection.
    pub fn read_any(&mut self) -> Option<Pdu> {
        let mut octets = [0; 16];
        match self.stream.read_exact(&mut octets) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return None;
            }
            Err(error) => panic!("no PDU: {error}"),
        }
        let Header { length, command, status, sequence } = Header::read(&octets).unwrap();
        let mut body = vec![0; length as usize - 16];
        self.stream.read_exact(&mut body).unwrap();
        Some(Pdu { command, status, sequence, body })
    }

    /// Reads until the end of the connection, whatever comes.
    pub fn read_to_end(&mut self) -> Vec<Pdu> {
        std::iter::from_fn(|| self.read_any()).collect()
    }
}

pub fn frame(command: Command, status: Status, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    write::frame(&mut octets, command, status, sequence, body);
    octets
}

pub fn bind_frame(kind: BindKind, sequence: u32, system_id: &str, password: &str) -> Vec<u8> {
    let bind = Bind {
        system_id: system_id.as_bytes(),
        password: password.as_bytes(),
        interface_version: 0x34,
        ..Bind::default()
    };
    let mut body = Vec::new();
    write::bind_body(&mut body, &bind).unwrap();
    frame(kind.command(), Status::OK, sequence, &body)
}

pub fn sm_body(source: &[u8], destination: &[u8], esm_class: u8, text: &[u8]) -> Vec<u8> {
    let address = |octets| SmeAddress { ton: 1, npi: 1, octets };
    let fields = SmFields {
        source: address(source),
        destination: address(destination),
        esm_class,
        registered_delivery: 1,
        text,
        ..SmFields::default()
    };
    let mut body = Vec::new();
    write::sm_body(&mut body, &fields).unwrap();
    body
}

pub fn submit_frame(sequence: u32) -> Vec<u8> {
    frame(Command::SUBMIT_SM, Status::OK, sequence, &sm_body(b"100", b"254712345678", 0, b"hello"))
}

pub fn receipt_body(id: &str) -> Vec<u8> {
    let text = format!(
        "id:{id} sub:001 dlvrd:001 submit date:2611200930 done date:2611201350 stat:DELIVRD err:000 text:hi"
    );
    sm_body(b"254712345678", b"100", 4, text.as_bytes())
}
