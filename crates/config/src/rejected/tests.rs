use super::*;

fn lines(path: &str) -> Option<u32> {
    match path {
        "" => Some(1),
        "a" => Some(2),
        "a[0]" => Some(3),
        "a[0].b[\"x.y[0]\"]" => Some(4),
        _ => None,
    }
}

#[test]
fn a_fault_names_the_line_of_its_field() {
    let line = |path: &str| Rejected::new(path, "bad").with_line(lines).line;
    assert_eq!(line("a"), Some(2));
    assert_eq!(line("a[0].b[\"x.y[0]\"]"), Some(4));
}

#[test]
fn a_fault_of_a_missing_field_names_the_line_of_what_would_hold_it() {
    let line = |path: &str| Rejected::new(path, "is required").with_line(lines).line;
    assert_eq!(line("a[0].b[\"x.y[0]\"].c.d[7]"), Some(4));
    assert_eq!(line("a[0].b[\"quote \\\" dot . \"]"), Some(3));
    assert_eq!(line("a[7].c"), Some(2));
    assert_eq!(line("z"), Some(1));
    assert_eq!(Rejected::new("z", "is required").with_line(|_| None).line, None);
}

#[test]
fn faults_read_path_and_line_first() {
    let fault = Rejected::new("a.b", "is 3, expected 4");
    assert_eq!(fault.to_string(), "a.b: is 3, expected 4");
    assert_eq!(
        fault.clone().under("clusters[0]").to_string(),
        "clusters[0].a.b: is 3, expected 4"
    );
    assert_eq!(
        Rejected { line: Some(7), ..fault }.to_string(),
        "line 7: a.b: is 3, expected 4"
    );
    assert_eq!(Rejected::new("", "is empty").to_string(), "is empty");
    assert_eq!(Rejected::new("", "is empty").under("x").to_string(), "x: is empty");
    assert_eq!(
        Rejected::new("[2]", "is empty").under("x").to_string(),
        "x[2]: is empty"
    );
}
