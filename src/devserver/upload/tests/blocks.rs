//! v1: mkblk, bput, mkfile.

use crate::devserver::exchange::Overrides;
use crate::devserver::store::Place;
use crate::devserver::upload::tests::{Call, MIB, Told, World, pattern};

const POLICY: &str = r#"{"scope":"b"}"#;

impl World {
    async fn mkblk(&self, len: usize, chunk: &[u8]) -> Told {
        let target = format!("/mkblk/{len}");
        let call = Call::new("POST", &target).token(&self.token(POLICY));
        self.call(call.body(chunk)).await
    }

    async fn bput(&self, ctx: &str, offset: usize, chunk: &[u8], overrides: Overrides) -> Told {
        let target = format!("/bput/{ctx}/{offset}");
        let call = Call::new("POST", &target).token(&self.token(POLICY));
        self.call(call.body(chunk).overrides(overrides)).await
    }

    async fn mkfile(&self, policy: &str, rest: &str, contexts: &[&str]) -> Told {
        let target = format!("/mkfile/{rest}");
        let call = Call::new("POST", &target).token(&self.token(policy));
        self.call(call.body(contexts.join(","))).await
    }
}

/// The example of the reference, section 4.4, number for number.
#[tokio::test]
async fn example_of_the_reference() {
    let world = World::new();
    let data = pattern(4 * MIB + 1);
    let first = world.mkblk(4 * MIB, &data[..4 * MIB]).await;
    assert_eq!(first.json["crc32"], 3_251_921_443_u32);
    assert_eq!(first.json["checksum"], "1pcCTtk_9iUzDQUDka3pnNXL3a0=");
    assert_eq!(first.json["offset"], 4 * MIB);
    assert_eq!(first.json["host"], "http://up.example:8");
    assert!(first.json["expired_at"].as_u64().unwrap() > 1_700_000_000);
    let second = world.mkblk(1, &data[4 * MIB..]).await;
    assert_eq!(second.json["crc32"], 3_523_407_757_u32);
    assert_eq!(second.json["checksum"], "W6k8nbDP-T9StSHXQg5D9u2ieE8=");

    let rest = "4194305/mimeType/dGV4dC9wbGFpbg==/key/ay50eHQ=/fname/YmlnLmJpbg==/x:foo/YmFy\
                /x-qn-meta-color/cmVk";
    let contexts = [first.text_of("ctx"), second.text_of("ctx")];
    for attempt in ["first", "repeated"] {
        let told = world.mkfile(POLICY, rest, &contexts).await;
        assert_eq!(
            told.text, r#"{"hash":"lvZaaqqoPggoRo61yE2jdqWTRxML","key":"k.txt"}"#,
            "{attempt}"
        );
    }
    assert_eq!(world.bytes("k.txt").await, data);
    let object = world.object("k.txt").await.unwrap();
    assert_eq!(object.mime_type, "text/plain");
    assert_eq!(object.metadata["color"], "red");
    let told = world
        .mkfile(POLICY, "4194305/key/ay50eHQ=", &[contexts[1], contexts[0]])
        .await;
    assert_eq!(told.error(), "701 block 0: invalid context", "wrong order");
}

/// A block in chunks: each answer has the chunk's own crc32 (reference, 4.2) and the hash so far;
/// a ctx may be used again, and only for the chunk that follows it.
#[tokio::test]
async fn chunks() {
    let world = World::new();
    let data = pattern(2 * MIB);
    let (one, two) = data.split_at(MIB);
    let first = world.mkblk(2 * MIB, one).await;
    let ctx = first.text_of("ctx");
    let none = Overrides::default();
    let refused = Overrides {
        replayed_context_refused: true,
        ..none
    };
    let second = world.bput(ctx, MIB, two, refused).await;
    assert_eq!(second.json["crc32"], 80_798_773, "of the chunk alone");
    assert_eq!(second.json["offset"], 2 * MIB);
    let replayed = world.bput(ctx, MIB, two, none).await;
    assert_eq!(replayed.status, 200);
    let rows = [
        (
            ctx,
            0,
            refused,
            "701 invalid context",
            "a replay that is refused",
        ),
        (ctx, 0, none, "701 invalid context", "wrong offset"),
        ("nothing", 0, none, "701 invalid context", "unknown ctx"),
        (
            second.text_of("ctx"),
            2 * MIB,
            none,
            "701 invalid context",
            "a full block",
        ),
    ];
    for (ctx, offset, overrides, expected, story) in rows {
        let told = world.bput(ctx, offset, b"x", overrides).await;
        assert_eq!(told.error(), expected, "{story}");
    }
    let told = world.bput(ctx, MIB, b"", none).await;
    assert_eq!(told.error(), "400 the chunk is empty");
    let told = world.bput(ctx, MIB, &pattern(MIB + 1), none).await;
    assert_eq!(told.error(), "400 the body is longer than the block");
    for told in [&second, &replayed] {
        let told = world
            .mkfile(POLICY, "2097152", &[told.text_of("ctx")])
            .await;
        assert_eq!(told.json["hash"], "FjOUukAzA8B4T4Nr2x7hOkv9FObe");
        assert_eq!(
            told.json["key"], "FjOUukAzA8B4T4Nr2x7hOkv9FObe",
            "no key: the hash"
        );
    }
    let expired = Overrides {
        context_expired: true,
        ..none
    };
    assert_eq!(
        world.bput(ctx, MIB, two, expired).await.error(),
        "701 invalid context"
    );
    let told = world.bput(ctx, MIB, two, none).await;
    assert_eq!(told.error(), "701 invalid context", "forgotten for good");
}

/// A server that is started anew on the same directory goes on in the middle of a block, whatever
/// the hasher had in its buffer.
#[tokio::test]
async fn a_block_survives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Disk(folder.path().join("store"));
    let data = pattern(1000);
    let mut told = World::on(&place).mkblk(1000, &data[..1]).await;
    for (start, end) in [(1, 63), (63, 64), (64, 777), (777, 1000)] {
        let world = World::on(&place);
        let ctx = told.text_of("ctx").to_owned();
        told = world
            .bput(&ctx, start, &data[start..end], Overrides::default())
            .await;
        assert_eq!(told.json["offset"], end, "{told:?}");
    }
    let world = World::on(&place);
    let told = world
        .mkfile(POLICY, "1000/key/aw==", &[told.text_of("ctx")])
        .await;
    assert_eq!(told.json["hash"], "Fq8LGRwt5G_hP-CQj1pqTpDgyvxG");
    assert_eq!(World::on(&place).bytes("k").await, data);
}

/// What mkblk and mkfile refuse.
#[tokio::test]
async fn refusals() {
    let world = World::new();
    for (len, chunk, expected) in [
        (0, "", "400 invalid block size"),
        (4 * MIB + 1, "x", "400 invalid block size"),
        (1, "xx", "400 the body is longer than the block"),
        (1, "", "400 the chunk is empty"),
    ] {
        assert_eq!(
            world.mkblk(len, chunk.as_bytes()).await.error(),
            expected,
            "{len}"
        );
    }
    let whole = world.mkblk(4, b"data").await;
    let open = world.mkblk(4, b"dat").await;
    let (whole, open) = (whole.text_of("ctx"), open.text_of("ctx"));
    let rows: [(&str, &[&str], &str); 8] = [
        ("4", &[whole], "200 -"),
        ("3", &[whole], "400 file size doesn't match its blocks"),
        ("3", &[open], "701 block 0: invalid context"),
        ("8", &[whole, whole], "701 block 0: invalid context"),
        ("4", &["nothing"], "701 block 0: invalid context"),
        ("4", &[whole, ""], "701 block 0: invalid context"),
        ("4", &[], "400 file size doesn't match its blocks"),
        ("0", &[], "200 -"),
    ];
    for (rest, contexts, expected) in rows {
        let told = world.mkfile(POLICY, rest, contexts).await;
        assert_eq!(told.error(), expected, "{rest} {contexts:?}");
    }
    let told = world.mkfile(POLICY, "0/key/", &[]).await;
    assert_eq!(
        told.text,
        r#"{"hash":"Fto5o-5ea0sNMlW_75VgGJCv2AcJ","key":""}"#
    );
}

/// A body that breaks off leaves no ctx, and v1 overwrites where form and v2 do not.
#[tokio::test]
async fn breaks_and_overwrites() {
    let world = World::new();
    let call = Call::new("POST", "/mkblk/4").token(&world.token(POLICY));
    let told = world.call(call.body("dat").cut()).await;
    assert_eq!(told.status, 400);
    let (one, two) = (world.mkblk(1, b"1").await, world.mkblk(1, b"2").await);
    let (one, two) = (one.text_of("ctx"), two.text_of("ctx"));
    let rows = [
        (POLICY, one, "200 -"),
        (POLICY, two, "200 -"),
        (r#"{"scope":"b","insertOnly":1}"#, one, "614 file exists"),
        (r#"{"scope":"b","insertOnly":1}"#, two, "200 -"),
        (
            r#"{"scope":"b","forceInsertOnly":true}"#,
            two,
            "614 file exists",
        ),
        (r#"{"scope":"b:k"}"#, one, "200 -"),
        (
            r#"{"scope":"b:x"}"#,
            one,
            "403 key doesn't match with scope",
        ),
        (
            r#"{"scope":"b:","isPrefixalScope":1}"#,
            two,
            "614 file exists",
        ),
    ];
    for (policy, ctx, expected) in rows {
        let told = world.mkfile(policy, "1/key/aw==", &[ctx]).await;
        assert_eq!(told.error(), expected, "{policy}");
    }
}
