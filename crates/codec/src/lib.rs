//! HTTP/2 and HTTP/1.1 made for proxying.
