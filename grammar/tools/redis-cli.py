"""Prints effects/redis-cli.toml. The commands and their flags are those of the installed redis-server, asked through `COMMAND`."""
import json, pathlib, re, subprocess, sys, tempfile, time

ORDER = ["observe", "create", "change", "destroy", "publish", "credential", "execute", "host"]
ALL = ["change", "destroy", "credential", "execute"]

def ask():
    with tempfile.TemporaryDirectory() as folder:
        socket = folder + "/redis.sock"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if pathlib.Path(socket).exists():
                    break
                time.sleep(0.05)
            run = lambda *words: subprocess.run(["redis-cli", "-s", socket, *words], capture_output=True, text=True, check=True).stdout
            return re.search(r"redis_version:(\S+)", run("INFO", "server"))[1], json.loads(run("--json", "COMMAND"))
        finally:
            server.terminate()
            server.wait()

# What the flags of the server do not tell, by command: effects.
RULES = {}
def rule(effects, *names):
    for name in names:
        RULES[name] = effects.split()

rule("destroy", *"del unlink flushall flushdb getdel hdel lrem ltrim srem zrem zremrangebylex zremrangebyrank zremrangebyscore xdel xtrim shutdown".split())
rule("destroy", *"lpop rpop blpop brpop lmpop blmpop spop zpopmax zpopmin bzpopmax bzpopmin zmpop bzmpop".split())
rule("destroy", *"expire expireat pexpire pexpireat".split())
rule("change destroy", *"rename migrate swapdb debug failover replicaof slaveof getex restore restore-asking".split())
rule("change destroy", "cluster failover", "cluster replicate", "module unload", "script flush", "client pause")
rule("destroy", "cluster reset", "cluster flushslots", "cluster delslots", "cluster delslotsrange", "cluster forget", "client kill", "function delete", "function flush", "xgroup destroy", "xgroup delconsumer")
rule("change destroy execute", "eval", "evalsha", "fcall", "function load", "function restore", "script load", "module load", "module loadex")
rule("observe execute", "eval_ro", "evalsha_ro", "fcall_ro")
rule("change", "publish", "spublish", "save", "bgsave", "bgrewriteaof", "replconf", "pfselftest", "memory purge", "latency reset", "slowlog reset", "config resetstat", "config rewrite", "function kill", "script kill", "script debug", "client unpause", "client unblock", "client no-evict")
rule("change", *("cluster " + word for word in "setslot set-config-epoch addslots addslotsrange saveconfig meet bumpepoch".split()))
rule("observe credential", "monitor", "config get", "acl list", "acl getuser", "acl log")
rule("change credential", "config set", "acl setuser", "acl load", "acl save")
rule("destroy credential", "acl deluser")
rule("credential", "auth", "acl genpass")
# These have neither the flag `readonly` nor `write`, and change nothing but the state of the connection.
rule("observe", *"asking command discard echo exec hello info lastsave multi ping psubscribe psync punsubscribe quit readonly readwrite reset role select ssubscribe subscribe sunsubscribe sync time unsubscribe unwatch wait watch".split())
rule("observe", *("acl " + word for word in "cat whoami users dryrun help".split()))
rule("observe", *("client " + word for word in "tracking getredir getname list help id trackinginfo info reply caching setname".split()))
rule("observe", *("cluster " + word for word in "nodes help myid info keyslot count-failure-reports getkeysinslot slaves countkeysinslot slots shards links replicas".split()))
rule("observe", *("command " + word for word in "getkeys docs getkeysandflags list info count help".split()))
rule("observe", "config help", "function list", "function dump", "function stats", "function help", "module list", "module help", "object help", "script exists", "script help", "slowlog len", "slowlog get", "slowlog help", "xgroup help", "xinfo help")
rule("observe", *("latency " + word for word in "doctor graph help histogram latest history".split()), *("memory " + word for word in "help doctor stats malloc-stats".split()), *("pubsub " + word for word in "numsub numpat shardchannels shardnumsub channels help".split()))
# Commands that this server does not have yet, from the manual of Redis 8.
NEWER = {
    "observe": ["hexpiretime", "hpexpiretime", "httl", "hpttl", "waitaof", "client setinfo", "client no-touch", "cluster myshardid", "cluster slot-stats"],
    "change": ["hsetex", "hpersist"],
    "change destroy": ["hgetex"],
    "destroy": ["hexpire", "hexpireat", "hpexpire", "hpexpireat", "hgetdel", "xackdel", "xdelex"],
}
SAFE = "maxmemory*|maxclients|save|append*|dir|dbfilename|databases|timeout|tcp-keepalive|notify-keyspace-events|hz|loglevel|slowlog-*|latency-monitor-threshold|port|bind|protected-mode|client-output-buffer-limit|lazyfree-*|activedefrag|repl-*|cluster-*"
TUNE = "maxclients|timeout|tcp-keepalive|notify-keyspace-events|hz|loglevel|slowlog-*|latency-monitor-threshold|client-output-buffer-limit|lazyfree-*|activedefrag"

def both(words):
    return "|".join(w for word in words for w in dict.fromkeys((word, word.upper())))

def main():
    version, commands = ask()
    plain, nested, missing = {}, {}, []
    def put(name, flags):
        effects = RULES.get(name)
        if effects is None and "write" in flags:
            effects = ["change"]
        if effects is None and "readonly" in flags:
            effects = ["observe"]
        if effects is None:
            missing.append(name)
            return
        head, _, tail = name.partition(" ")
        for effect in effects:
            if tail:
                nested.setdefault((head, effect), []).append(tail)
            else:
                plain.setdefault(effect, []).append(head)
    for command in sorted(commands, key=lambda c: c[0]):
        for sub in sorted(command[9], key=lambda c: c[0]):
            put(sub[0].replace("|", " "), sub[2])
        if not command[9] or command[0] == "command":
            put(command[0], command[2])
    if missing:
        sys.exit("no rule: " + ", ".join(missing))
    known = {c[0] for c in commands} | {s[0].replace("|", " ") for c in commands for s in c[9]}
    if wrong := [name for name in RULES if name not in known]:
        sys.exit("no such command: " + ", ".join(wrong))
    for effects, names in NEWER.items():
        for name in names:
            if name not in known:
                RULES[name] = effects.split()
                put(name, [])
    rows = {effect: [] for effect in ORDER}
    # What runs a script or reads commands from a file or the standard input goes first, whatever the words are.
    off = " !--pipe !--eval !--lru-test"
    for effect in ORDER:
        for name in [both(plain.get(effect, []))]:
            if name:
                rows[effect] += [name + off, "*:* " + name + " --cluster=call" + off]
        for (head, of), tails in nested.items():
            if of == effect:
                rows[effect] += [f"{both([head])} {both(tails)}{off}", f"*:* {both([head])} {both(tails)} --cluster=call{off}"]
    more = {
        "help|HELP": "observe", f"debug|DEBUG {both(['help', 'object'])}": "observe", "hello|HELLO * auth|AUTH": "credential", "hello|HELLO * setname|SETNAME * auth|AUTH": "credential",
        f"xadd|XADD * {both(['maxlen', 'minid'])}": "change destroy", f"xadd|XADD * nomkstream|NOMKSTREAM {both(['maxlen', 'minid'])}": "change destroy",
        "replicaof|slaveof|REPLICAOF|SLAVEOF no|NO one|ONE": "change",
        # One setting that is no password; several may be told at once.
        f"config|CONFIG get|GET {SAFE} $": "observe", f"config|CONFIG set|SET {TUNE} * $": "change", "config|CONFIG set|SET maxmemory* * $": "change destroy",
        # The server writes files where these say.
        f"config|CONFIG set|SET dir|dbfilename|append*name": "change credential execute",
        f"{both(['get', 'mget', 'getrange', 'hget', 'hgetall', 'hmget', 'hvals', 'dump'])} *secret*|*passw*|*token*|*credential*|*apikey*|*api_key*": "observe credential",
    }
    for pattern, effects in more.items():
        for effect in effects.split():
            rows[effect].append(pattern + off)
    for pattern, effects in {
        "$ --help": "observe", "$ --version": "observe", "$ --bigkeys": "observe", "$ --memkeys": "observe", "$ --memkeys-samples": "observe", "$ --hotkeys": "observe", "$ --scan": "observe", "$ --stat": "observe",
        "$ --latency": "observe", "$ --latency-history": "observe", "$ --latency-dist": "observe", "$ --intrinsic-latency": "observe", "$ --replica": "observe", "$ --rdb": "observe", "$ --functions-rdb": "observe",
        "--pipe": "change destroy credential execute", "--eval": "change destroy credential execute", "--lru-test": "change destroy",
        "$ --cluster=help": "observe", "*:* $ --cluster=check|info": "observe", "*:* * $ --cluster=backup": "observe", "*:* --cluster=rebalance --cluster-simulate": "observe",
        "*:* --cluster=create|import": "create change destroy", "*:* --cluster=add-node": "create change", "*:* --cluster=fix|reshard|rebalance|del-node": "change destroy", "*:* --cluster=set-timeout": "change",
    }.items():
        for effect in effects.split():
            rows[effect].append(pattern)
    values = [
        "-h", "-p", "-s", "-a --pass", "--user", "-u", "-r", "-i", "-n", "-X", "-d", "-D", "-t", "--sni", "--cacert", "--cacertdir", "--cert", "--key", "--tls-ciphers", "--tls-ciphersuites", "--show-pushes", "--lru-test", "--rdb", "--functions-rdb",
        "--pipe-timeout", "--memkeys-samples", "--pattern", "--quoted-pattern", "--intrinsic-latency", "--eval", "--cluster", "--cluster-replicas", "--cluster-from", "--cluster-to", "--cluster-slots", "--cluster-timeout", "--cluster-pipeline",
        "--cluster-weight", "--cluster-threshold", "--cluster-master-id", "--cluster-from-user", "--cluster-from-pass",
    ]
    flags = [
        "--askpass", "-2", "-3", "-4", "-6", "-x", "-c", "-e", "--tls", "--insecure", "--raw", "--no-raw", "--quoted-input", "--csv", "--json", "--quoted-json", "--stat", "--latency", "--latency-history", "--latency-dist", "--slave --replica", "--pipe",
        "--bigkeys", "--memkeys", "--hotkeys", "--scan", "--ldb", "--ldb-sync-mode", "--verbose", "--no-auth-warning", "--help", "-v --version", "--cluster-search-multiple-owners", "--cluster-fix-with-unreachable-masters", "--cluster-yes",
        "--cluster-replace", "--cluster-use-empty-masters", "--cluster-simulate", "--cluster-slave", "--cluster-only-masters", "--cluster-only-replicas", "--cluster-from-askpass", "--cluster-copy",
    ]
    out = [
        "# A command in mixed letters (`Get`) has no row. Words behind the command are its arguments, also those that start with a dash.",
        "# There is no row without a command: what follows on the standard input is not known.",
        'name = "redis-cli"', 'aliases = ["valkey-cli", "keydb-cli"]', 'system = "redis"',
        f'source = "redis-server {version} `COMMAND` with flags, redis-cli {version} `--help` and `--cluster help`; newer commands from the manual of Redis 8, 2026-11-28"',
        'script = "grammar/tools/redis-cli.py"', "",
    ]
    block = lambda items: "[\n" + "".join(f"    {json.dumps(item)},\n" for item in items) + "]"
    lines = lambda items: [", ".join(json.dumps(i) for i in items[at:at + 16]) for at in range(0, len(items), 16)]
    for name, items in (("values", values), ("flags", flags)):
        out += [f"{name} = ["] + [f"    {line}," for line in lines(items)] + ["]"]
    out += ["", "[scope]", 'host = ["-h", "-s"]', 'database = ["-n"]', 'url = ["-u"]', "",
            "[peer]", 'options = ["-h"]', 'sockets = ["-s"]', 'default = "localhost"', 'ports = ["-p"]',
            'elsewhere = ["-u", "-c", "--cluster"]', "", "[verbs]"]
    out += [f"{effect} = {block(rows[effect])}" for effect in ORDER if rows[effect]]
    for command, effects, scope in EXAMPLES:
        out += ["", "[[example]]", "command = " + json.dumps(command), "effects = " + json.dumps(effects.split())]
        if scope:
            out.append("scope = { " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in scope.items()) + " }")
    print("\n".join(out))

EXAMPLES = [
    ("redis-cli get user:1", "observe", {}), ("redis-cli -h db.example.com -p 6380 -n 3 INFO replication", "observe", {"host": "db.example.com", "database": "3"}), ("redis-cli --tls -u rediss://u:p@h:6380/0 dbsize", "observe", {"url": "rediss://u:p@h:6380/0"}),
    ("redis-cli --scan --pattern 'user:*'", "observe", {}), ("redis-cli -h db --bigkeys -i 0.1", "observe", {"host": "db"}), ("redis-cli --stat", "observe", {}), ("redis-cli --latency -h db", "observe", {}), ("redis-cli --rdb dump.rdb", "observe", {}),
    ("redis-cli --help", "observe", {}), ("redis-cli CONFIG GET maxmemory", "observe", {}), ("redis-cli slowlog get 10", "observe", {}), ("redis-cli client list", "observe", {}), ("redis-cli --cluster check 10.0.0.1:7000", "observe", {}),
    ("redis-cli --cluster call 10.0.0.1:7000 info memory", "observe", {}), ("redis-cli -r 10 -i 1 --raw ping", "observe", {}), ("redis-cli help set", "observe", {}), ("redis-cli --replica", "observe", {}),
    ("redis-cli set k v", "change", {}), ("redis-cli -n 2 HSET h f v", "change", {"database": "2"}), ("redis-cli -x set k", "change", {}), ("redis-cli LPUSH list a b", "change", {}), ("redis-cli publish channel hello", "change", {}),
    ("redis-cli config rewrite", "change", {}), ("redis-cli config set loglevel debug", "change", {}), ("redis-cli xadd s '*' f v", "change", {}), ("redis-cli bgsave", "change", {}), ("redis-cli replicaof no one", "change", {}),
    ("redis-cli del k", "destroy", {}), ("redis-cli -h prod -a x FLUSHALL", "destroy", {"host": "prod"}), ("redis-cli -n 1 flushdb async", "destroy", {"database": "1"}), ("redis-cli EXPIRE k 10", "destroy", {}), ("redis-cli lpop queue", "destroy", {}),
    ("redis-cli shutdown nosave", "destroy", {}), ("redis-cli unlink k --help", "destroy", {}), ("redis-cli del k --cluster info", "destroy", {}), ("redis-cli cluster reset hard", "destroy", {}), ("redis-cli client kill 10.0.0.1:5000", "destroy", {}),
    ("redis-cli --cluster call 10.0.0.1:7000 FLUSHALL", "destroy", {}), ("redis-cli rename a b", "change destroy", {}), ("redis-cli replicaof 10.0.0.9 6379", "change destroy", {}), ("redis-cli config set maxmemory 100mb", "change destroy", {}),
    ("redis-cli xadd s MAXLEN '~' 1000 '*' f v", "change destroy", {}), ("redis-cli debug sleep 30", "change destroy", {}), ("redis-cli --cluster del-node 10.0.0.1:7000 abc", "change destroy", {}),
    ("redis-cli --cluster reshard 10.0.0.1:7000 --cluster-from a --cluster-to b --cluster-slots 10 --cluster-yes", "change destroy", {}), ("redis-cli --cluster create 10.0.0.1:7000 10.0.0.2:7000 10.0.0.3:7000 --cluster-replicas 0", "create change destroy", {}),
    ("redis-cli --cluster add-node 10.0.0.4:7000 10.0.0.1:7000", "create change", {}), ("redis-cli --cluster import 10.0.0.1:7000 --cluster-from 10.0.0.9:6379", "create change destroy", {}),
    ("redis-cli CONFIG GET '*'", "observe credential", {}), ("redis-cli config get maxmemory requirepass", "observe credential", {}), ("redis-cli config set requirepass x", "change credential", {}), ("redis-cli config set dir /var/spool/cron", "change credential execute", {}),
    ("redis-cli acl setuser bob on '>x' '~*' +@all", "change credential", {}), ("redis-cli ACL LIST", "observe credential", {}), ("redis-cli monitor", "observe credential", {}), ("redis-cli auth x", "credential", {}), ("redis-cli get session:token:1", "observe credential", {}),
    ("redis-cli acl deluser bob", "destroy credential", {}), ("redis-cli eval 'return 1' 0", "change destroy execute", {}), ("redis-cli --eval x.lua get , a", "change destroy credential execute", {}), ("redis-cli module load ./x.so", "change destroy execute", {}),
    ("redis-cli fcall_ro f 0", "observe execute", {}), ("redis-cli --pipe", "change destroy credential execute", {}), ("redis-cli -h db --pipe get", "change destroy credential execute", {}), ("valkey-cli FUNCTION LOAD x", "change destroy execute", {}),
    ("redis-cli", "unknown", {}), ("redis-cli -h db -n 0", "unknown", {}), ("redis-cli json.del k", "unknown", {}), ("redis-cli ft.dropindex i --help", "unknown", {}), ("redis-cli Get k", "unknown", {}),
]
main()
