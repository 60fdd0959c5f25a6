use super::*;

const HEADER: &[u8] = br#"{"type":"header"}"#;

fn limits(max_bytes: u64, keep: u32) -> Limits {
    Limits { max_bytes, keep, ..Limits::default() }
}

fn read(dir: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn whole_lines_a_header_each_and_only_so_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = Rotating::create(&dir.path().join("e"), limits(100, 3)).unwrap();
    f.first_line(HEADER).unwrap();
    for i in 0..200 {
        f.line(format!(r#"{{"n":{i}}}"#).as_bytes()).unwrap();
    }
    let files = read(dir.path());
    assert_eq!(files.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["e", "e.1", "e.2", "e.3"]);
    let mut numbers = Vec::new();
    for (name, text) in files.iter().rev() {
        assert!(text.len() <= 100 && text.ends_with('\n'), "{name}: {} bytes", text.len());
        let mut lines = text.lines();
        assert_eq!(lines.next().map(str::as_bytes), Some(HEADER), "{name}");
        numbers.extend(lines.map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["n"].as_i64().unwrap()));
    }
    assert!(numbers.len() > 20);
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "no line lost, none twice, oldest file last: {numbers:?}");
    assert_eq!(numbers.last(), Some(&199));
}

#[test]
fn age_begins_a_new_file_but_never_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = Rotating::create(&dir.path().join("e"), Limits::default()).unwrap();
    f.first_line(HEADER).unwrap();
    let day = |n: u64| Instant::now() + Duration::from_secs(n * 86_401);
    f.line_at(b"a", day(3)).unwrap();
    assert_eq!(read(dir.path()).len(), 1, "it held only a header");
    f.line_at(b"b", day(4)).unwrap();
    f.line_at(b"c", day(4)).unwrap();
    let files = read(dir.path());
    assert_eq!(files.len(), 2);
    assert!(files[0].1.ends_with("}\nb\nc\n") && files[1].1.ends_with("}\na\n"), "{files:?}");
}

#[test]
fn a_line_larger_than_a_file_gets_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = Rotating::create(&dir.path().join("e"), limits(10, 5)).unwrap();
    for line in ["short", "much longer than ten", "short"] {
        f.line(line.as_bytes()).unwrap();
    }
    let texts: Vec<String> = read(dir.path()).into_iter().map(|(_, t)| t).collect();
    assert_eq!(texts, ["short\n", "much longer than ten\n", "short\n"]);
}

#[test]
fn what_a_crash_left_is_kept_without_its_broken_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e");
    let long = format!("{}\n{}", "x".repeat(200_000), "y".repeat(200_000));
    for (left, kept) in [("a\nb\nbro", Some("a\nb\n")), ("bro", Some("")), ("", None), (&long, Some(&long[..200_001]))]
    {
        std::fs::write(&path, left).unwrap();
        drop(std::fs::remove_file(dir.path().join("e.1")));
        drop(Rotating::create(&path, limits(100, 1)).unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join("e.1")).ok().as_deref(), kept);
    }
}

#[test]
fn none_are_kept_if_none_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = Rotating::create(&dir.path().join("e"), limits(4, 0)).unwrap();
    for line in ["aaa", "bbb"] {
        f.line(line.as_bytes()).unwrap();
    }
    assert_eq!(read(dir.path()), [("e".to_owned(), "bbb\n".to_owned())]);
}

#[test]
fn errors_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let told = Rotating::create(&dir.path().join("no/such/e"), Limits::default()).unwrap_err().to_string();
    assert!(told.contains("no/such/e: No such file"), "{told}");
    let told = Rotating::create(Path::new("/"), Limits::default()).unwrap_err().to_string();
    assert!(told.contains("names no file"), "{told}");
}

/// A disk with room for so many bytes; while `broken`, it can't even be cut.
struct Small {
    room: usize,
    broken: bool,
    held: Vec<u8>,
}

impl Write for Small {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(self.room - self.held.len().min(self.room));
        self.held.extend(&buf[..n]);
        if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Small {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        unreachable!("cut does it")
    }
}

impl Target for Small {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::Other.into());
        }
        self.held.truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_lines_and_breaks_none() {
    let target = Small { room: 12, broken: false, held: Vec::new() };
    let mut lines = Lines { target, whole: 0, torn: false };
    lines.write(b"1111\n").unwrap();
    lines.write(b"2222\n").unwrap();
    assert_eq!(lines.write(b"3333\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(lines.target.held, b"1111\n2222\n", "what went of the third was taken back");
    // Not even that can be done: nothing more is written until it can.
    lines.target.broken = true;
    lines.write(b"4444\n").unwrap_err();
    assert_eq!(lines.target.held, b"1111\n2222\n44");
    lines.target.room = 100;
    lines.write(b"5555\n").unwrap_err();
    lines.target.broken = false;
    lines.write(b"6666\n").unwrap();
    assert_eq!(lines.target.held, b"1111\n2222\n6666\n");
}
