//! Requests and responses that two recipients could read differently, through whole proxies: refused, or passed on so
//! that there is one way to read them; what hides behind them comes to nobody.

use e2e::sections;

#[test]
fn what_two_recipients_could_read_differently_is_refused() {
    sections::compare("smuggling", include_str!("../src/smuggling.txt"));
}
