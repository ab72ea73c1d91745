//! What is set on every socket: no waiting for more octets, and a peer that has vanished is noticed.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// How soon a peer that has vanished is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Silence before the kernel asks the peer's.
    pub keepalive: Duration,
    /// Octets that the peer's kernel has not acknowledged for so long mean that it is gone.
    pub unacknowledged: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { keepalive: Duration::from_secs(60), unacknowledged: Duration::from_secs(60) }
    }
}

pub fn configure(stream: &TcpStream, patience: Patience) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let every = KEEPALIVE_EVERY.min(patience.keepalive);
    let keepalive = TcpKeepalive::new().with_time(patience.keepalive).with_interval(every);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(patience.unacknowledged))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_is_told_how_patient_to_be() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let seconds = Duration::from_secs;
        for patience in [Patience::default(), Patience { keepalive: seconds(7), unacknowledged: seconds(21) }]
        {
            configure(&stream, patience).unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), patience.keepalive);
            assert!(socket.tcp_keepalive_interval().unwrap() <= patience.keepalive);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(patience.unacknowledged));
        }
    }
}
