//! Tests of the HTTP/2 codec from the text of RFC 9113: scripts of frames, in both roles.

mod abuse;
mod abuse_by_server;
mod adaptive;
mod chunking;
mod flow;
mod flow_of_uploads;
mod frames;
mod frames_in_states;
mod frames_of_connection;
mod goaway;
mod messages;
mod messages_of_both;
mod pair;
mod responses;
mod script;
mod send;
mod states;
mod streams;
mod timers;
