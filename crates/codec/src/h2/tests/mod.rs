//! Tests of the HTTP/2 codec from the text of RFC 9113: scripts of frames, in both roles.

mod abuse;
mod chunking;
mod flow;
mod frames;
mod goaway;
mod messages;
mod pair;
mod script;
mod send;
mod streams;
mod timers;
