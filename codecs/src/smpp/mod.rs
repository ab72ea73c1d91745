//! SMPP as spoken: frames, PDUs and the session. No sockets.
