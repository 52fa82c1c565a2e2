//! Repeated slashes mean one, whoever reads them.

use bastide_arm::path::{PathSegments, tidied};

#[test]
fn a_tidied_path_reads_as_the_path_it_came_from() {
    for (raw, tidy) in [("/a/b", "/a/b"), ("//a///b//", "/a/b/"), ("/a/%2F/b", "/a/%2F/b"), ("//", "/")] {
        assert_eq!(tidied(raw), tidy);
        assert_eq!(PathSegments::parse(raw).ok(), PathSegments::parse(tidy).ok(), "{raw}");
    }
}
