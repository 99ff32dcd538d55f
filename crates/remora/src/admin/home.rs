//! The page at `/`: a list of the paths, in which what changes something is a button.

use std::fmt::Write as _;

use http::StatusCode;

use super::routes::ROUTES;
use super::{Answer, HTML};

pub(super) fn answer() -> Answer {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n<title>remora admin</title>\n<style>\n\
         body{font-family:sans-serif}td{padding:4px;text-align:left}form{margin:0}\n</style>\n</head>\n<body>\n<table>\n\
         <tr><th>Command</th><th>Description</th></tr>\n",
    );
    for route in ROUTES.iter().filter(|route| route.path != "/") {
        let path = &route.path[1..];
        let command = if route.mutates {
            format!("<form action='{path}' method='post'><button>{path}</button></form>")
        } else {
            format!("<a href='{path}'>{path}</a>")
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<tr><td>{command}</td><td>{}</td></tr>", route.help);
    }
    page.push_str("</table>\n</body>\n</html>\n");
    Answer {
        status: StatusCode::OK,
        content_type: HTML,
        body: page.into_bytes(),
    }
}
