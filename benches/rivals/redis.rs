//! Redis: a server, here one for each store, that answers one command after another.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::subprocess::{Subprocess, dies_with_us};
use redis::{Cmd, Connection, ConnectionAddr, Pipeline, Value, cmd, pipe};

use crate::{
    support::workers::Kind,
    waist::system::{Client, Listener, Renewal, Store, System, number},
};

const PROGRAM: &str = "redis-server";
/// Longer than a server takes to listen on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(20);
/// Commands sent together where a store is filled.
const TOGETHER: usize = 1_000;
/// All values of a prefix as of one moment: a script is the only way, since the names have to be found first.
const RANGE: &str = "local found = {} for _, name in ipairs(redis.call('KEYS', ARGV[1])) do \
                     found[#found + 1] = redis.call('GET', name) end return found";

/// Gives a lock back if it still has our token.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Redis over a socket in the store's folder, without a port and without a file.
pub struct Redis;

/// A store, and the server if it is this process that started it.
struct Remote {
    socket: PathBuf,
    _server: Option<Subprocess>,
}

/// Starts a server that is killed on drop, and at the latest with this process.
fn start_server(folder: &Path, socket: &Path) -> io::Result<Subprocess> {
    let mut command = Command::new(PROGRAM);
    command
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--maxclients", "4096", "--unixsocket"])
        .arg(socket)
        .arg("--dir")
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut server = Subprocess::spawn(dies_with_us(&mut command))?;
    let start = Instant::now();
    while connect(socket).is_err() {
        if let Some(status) = server.try_wait()? {
            return Err(io::Error::other(format!("{PROGRAM} ended with {status}")));
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{PROGRAM} does not listen after {PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(server)
}

fn connect(socket: &Path) -> io::Result<Connection> {
    let client = redis::Client::open(ConnectionAddr::Unix(socket.to_owned())).map_err(io::Error::other)?;
    client.get_connection().map_err(io::Error::other)
}

struct User {
    server: Connection,
    names: Vec<String>,
    range: String,
}

impl System for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn absence(&self) -> Option<String> {
        let version = Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
        let here = version.is_ok_and(|status| status.success());
        (!here).then(|| format!("{PROGRAM} is not on the PATH, so the rows of Redis are missing; ci/setup installs it"))
    }

    fn kind(&self) -> Kind {
        Kind::Processes
    }

    fn every(&self) -> u32 {
        1
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn tells(&self) -> bool {
        true
    }

    fn has_leases(&self) -> bool {
        true
    }

    fn create(&self, folder: &Path, _names: u32) -> io::Result<Box<dyn Store>> {
        let socket = socket_in(folder);
        let server = start_server(folder, &socket)?;
        Ok(Box::new(Remote { socket, _server: Some(server) }))
    }

    fn open(&self, folder: &Path) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(Remote { socket: socket_in(folder), _server: None }))
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("socket")
}

impl Store for Remote {
    fn client<'s>(&'s self, names: &[String]) -> io::Result<Box<dyn Client + 's>> {
        let mut server = connect(&self.socket)?;
        let range = cmd("SCRIPT").arg("LOAD").arg(RANGE).query(&mut server).map_err(io::Error::other)?;
        Ok(Box::new(User { server, names: names.to_vec(), range }))
    }

    fn fill(&self, names: &[String], value: &[u8]) -> io::Result<()> {
        let mut server = connect(&self.socket)?;
        for names in names.chunks(TOGETHER) {
            set_all(&mut pipe(), names.iter(), value).exec(&mut server).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn listen<'s>(&'s self, name: &str) -> io::Result<Box<dyn Listener + 's>> {
        let mut server = connect(&self.socket)?;
        let subscribe = cmd("SUBSCRIBE").arg(name).get_packed_command();
        server.send_packed_command(&subscribe).map_err(io::Error::other)?;
        // The answer says that from now on everything is heard.
        server.recv_response().map_err(io::Error::other)?;
        Ok(Box::new(Subscriber(server)))
    }

    fn lease<'s>(&'s self, name: &str, time_to_live: Duration) -> io::Result<Renewal<'s>> {
        let mut server = connect(&self.socket)?;
        let mut renew = cmd("PEXPIRE");
        renew.arg(name).arg(time_to_live.as_millis() as u64);
        Ok(Box::new(move || match renew.query(&mut server).map_err(io::Error::other)? {
            1 => Ok(()),
            _ => Err(io::Error::other("the entry is gone")),
        }))
    }

    fn lock<'s>(&'s self, name: &str, time_to_live: Duration) -> io::Result<Option<Renewal<'s>>> {
        let mut server = connect(&self.socket)?;
        let release: String = cmd("SCRIPT").arg("LOAD").arg(RELEASE).query(&mut server).map_err(io::Error::other)?;
        let name = name.to_owned();
        let mut token = 0_u64;
        Ok(Some(Box::new(move || {
            token += 1;
            let mut take = cmd("SET");
            take.arg(&name).arg(token).arg("NX").arg("PX").arg(time_to_live.as_millis() as u64);
            let taken: Option<String> = take.query(&mut server).map_err(io::Error::other)?;
            let mut give = cmd("EVALSHA");
            give.arg(&release).arg(1).arg(&name).arg(token);
            match (taken, give.query(&mut server).map_err(io::Error::other)?) {
                (Some(_), 1) => Ok(()),
                other => Err(io::Error::other(format!("the lock was somebody else's: {other:?}"))),
            }
        })))
    }

    fn message<'s>(&'s self, name: &str) -> io::Result<Option<Renewal<'s>>> {
        let mut server = connect(&self.socket)?;
        let mut group = cmd("XGROUP");
        group.arg("CREATE").arg(name).arg("bert").arg("$").arg("MKSTREAM");
        group.exec(&mut server).map_err(io::Error::other)?;
        let name = name.to_owned();
        Ok(Some(Box::new(move || {
            let failed = io::Error::other;
            let id: String =
                cmd("XADD").arg(&name).arg("*").arg("body").arg("hello").query(&mut server).map_err(failed)?;
            let mut read = cmd("XREADGROUP");
            read.arg("GROUP").arg("bert").arg("bert").arg("COUNT").arg(1).arg("STREAMS").arg(&name).arg(">");
            let found: Value = read.query(&mut server).map_err(failed)?;
            let done: u64 = cmd("XACK").arg(&name).arg("bert").arg(&id).query(&mut server).map_err(failed)?;
            let gone: u64 = cmd("XDEL").arg(&name).arg(&id).query(&mut server).map_err(failed)?;
            match (done, gone) {
                (1, 1) => Ok(()),
                _ => Err(io::Error::other(format!("not the message that was sent: {found:?}"))),
            }
        })))
    }
}

/// Adds a put of each name.
fn set_all<'p, 'n>(pipe: &'p mut Pipeline, names: impl Iterator<Item = &'n String>, value: &[u8]) -> &'p mut Pipeline {
    for name in names {
        pipe.cmd("SET").arg(name).arg(value).ignore();
    }
    pipe
}

impl User {
    fn ask<T: redis::FromRedisValue>(&mut self, command: &Cmd) -> io::Result<T> {
        command.query(&mut self.server).map_err(io::Error::other)
    }
}

impl Client for User {
    fn put(&mut self, names: &[usize], value: &[u8]) -> io::Result<()> {
        if let [name] = names {
            return cmd("SET").arg(&self.names[*name]).arg(value).exec(&mut self.server).map_err(io::Error::other);
        }
        let names = names.iter().map(|name| &self.names[*name]);
        set_all(pipe().atomic(), names, value).exec(&mut self.server).map_err(io::Error::other)
    }

    fn raise(&mut self, names: &[usize]) -> io::Result<u64> {
        let names: Vec<&String> = names.iter().map(|name| &self.names[*name]).collect();
        let mut retries = 0;
        loop {
            let mut read = pipe();
            read.cmd("WATCH").arg(&names).ignore().cmd("MGET").arg(&names);
            let (values,): (Vec<Vec<u8>>,) = read.query(&mut self.server).map_err(io::Error::other)?;
            let mut write = pipe();
            write.atomic();
            for (name, value) in names.iter().zip(&values) {
                write.cmd("SET").arg(name).arg(&(number(value)? + 1).to_le_bytes());
            }
            let written: Option<Vec<String>> = write.query(&mut self.server).map_err(io::Error::other)?;
            if written.is_some() {
                return Ok(retries);
            }
            retries += 1;
        }
    }

    fn get(&mut self, name: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        let found: Option<Vec<u8>> =
            cmd("GET").arg(&self.names[name]).query(&mut self.server).map_err(io::Error::other)?;
        into.clear();
        into.extend_from_slice(found.as_deref().unwrap_or_default());
        Ok(found.is_some())
    }

    fn create(&mut self, name: usize, value: &[u8]) -> io::Result<bool> {
        let mut set = cmd("SET");
        set.arg(&self.names[name]).arg(value).arg("NX");
        let done: Option<String> = self.ask(&set)?;
        Ok(done.is_some())
    }

    fn delete(&mut self, name: usize) -> io::Result<bool> {
        let mut delete = cmd("DEL");
        delete.arg(&self.names[name]);
        Ok(self.ask::<u64>(&delete)? == 1)
    }

    fn range(&mut self, prefix: &str, visit: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut run = cmd("EVALSHA");
        run.arg(&self.range).arg(0).arg(format!("{prefix}*"));
        let found: Vec<Vec<u8>> = self.ask(&run)?;
        found.iter().for_each(|value| visit(value));
        Ok(())
    }

    fn tell(&mut self, name: usize, value: &[u8]) -> io::Result<()> {
        let name = &self.names[name];
        let mut tell = pipe();
        tell.atomic().cmd("SET").arg(name).arg(value).ignore().cmd("PUBLISH").arg(name).arg(value).ignore();
        tell.exec(&mut self.server).map_err(io::Error::other)
    }
}

/// A connection that has subscribed to one name.
struct Subscriber(Connection);

impl Listener for Subscriber {
    fn next(&mut self) -> io::Result<Vec<u8>> {
        match self.0.recv_response().map_err(io::Error::other)? {
            // "message", the channel, the value.
            Value::Array(parts) => match parts.into_iter().nth(2) {
                Some(Value::BulkString(value)) => Ok(value),
                other => Err(io::Error::other(format!("a message without a value: {other:?}"))),
            },
            other => Err(io::Error::other(format!("no message: {other:?}"))),
        }
    }
}
