//! Coding blocks and Reed–Solomon repair symbols; knows nothing of datagrams or time.
