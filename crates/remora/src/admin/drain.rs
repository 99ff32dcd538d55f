//! `/drain_listeners`.

use super::Answer;
use super::routes::Request;
use super::source::DrainRequest;

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let drain = DrainRequest {
        inbound_only: request.parameters.has("inboundonly"),
        graceful: request.parameters.has("graceful"),
        skip_exit: request.parameters.has("skip_exit"),
    };
    if drain.skip_exit && !drain.graceful {
        return Answer::bad_request("skip_exit requires graceful\n");
    }
    request.source.drain_listeners(drain);
    Answer::ok()
}
