#!/usr/bin/env python3
"""Makes the effect table of linode-cli from the operations that the package ships.

Run:  pip install linode-cli
      python3 grammar/tools/linode-cli.py > grammar/effects/linode-cli.toml

It reads the package's baked operations alone: no token, no network. The output is the same for the same version.
An effect comes from the operation's HTTP method, then from the rules (RULES) in order.
"""
import os
import sys
from fnmatch import fnmatchcase

os.environ["LINODE_CLI_TOKEN"] = "none"

LETTERS = {"o": "observe", "w": "here", "c": "create", "m": "change", "d": "destroy", "p": "publish", "k": "credential", "x": "execute", "h": "host"}
ORDER = ["observe", "here", "create", "change", "destroy", "publish", "credential", "execute", "host"]
METHOD = {"GET": "o", "POST": "c", "PUT": "m", "DELETE": "d"}

# Verbs by hand: group pattern, verb patterns, effects.
RULES = """
account cancel dk
account client-create ck
account client-delete dk
account client-reset-secret|client-update mk
account enable-managed|promo-add|payment-create m
account settings-update|update mk
child-account create k
databases *-creds-reset mk
databases *-creds-view k
databases *-patch|*-resume m
databases *-suspend md
databases mysql-create|postgresql-create ck
databases *-update mk
domains import c
events mark-seen m
firewalls rules-update md
image-sharegroups image-add|member-add mpk
image-sharegroups member-*|image-remove mk
image-sharegroups member-view|members-list o
image-sharegroups token-create ck
image-sharegroups token-delete dk
image-sharegroups token-update mk
images upload ck
linodes backup-restore md
linodes backups-cancel d
linodes backups-enable|boot|reboot|resize|migrate|upgrade|interfaces-upgrade|ip-add|config-interfaces-order|disk-resize|post-apply-firewalls m
linodes create cx
linodes clone cmdx
linodes rebuild mdkx
linodes rescue|shutdown md
linodes disk-reset-password|linode-reset-password mk
linodes disk-create c
linodes firewalls-update m
lke cluster-nodes-recycle|node-recycle|pool-recycle md
lke kubeconfig-view k
lke kubeconfig-delete|service-token-delete dk
lke regenerate mdk
lke cluster-acl-* mk
lke cluster-acl-view o
lke cluster-dashboard-url k
longview create ck
longview view|list|ls k
managed credential-create ck
managed credential-revoke dk
managed credential-update* mk
managed service-disable md
managed service-enable m
monitor token-get k
networking ip-assign|ip-share m
nodebalancers config-rebuild md
object-storage cancel dk
object-storage keys-create ck
object-storage keys-delete dk
object-storage keys-update mk
object-storage ssl-upload ck
object-storage ssl-delete dk
payment-methods default m
phone * mk
placement assign-linode|unassign-linode m
profile app-delete|device-revoke|token-delete dk
profile put-tfa-optional-users|tfa-*|update|token-update mk
profile tfa-disable mdk
profile token-create ck
resource-locks create m
resource-locks delete dk
service-transfers accept|create mk
service-transfers cancel m
sshkeys create ck
sshkeys delete|rm dk
sshkeys update mk
stackscripts create|update cmp
streams delete d
tickets close|reply m
users create ck
users delete|rm dk
users update mk
volumes attach|resize m
volumes detach md
""".strip().splitlines()

# The package's plugins and own commands.
# The plugin `obj` makes a key of its own where it has none.
EXTRA = """--help = o
$ --version = o
$ = o
configure = mk
remove-user|set-user = mk
show-users|list-commands|completion|metadata|region-table|env-vars|commands|regions-table = o
set-custom-aliases = w
metadata user-data|userdata = k
register-plugin|remove-plugin = h
firewall-editor = md
get-kubeconfig = mk
image-upload = c
monitor-api = o
ssh = kx
obj ls|du|info = ok
obj signurl = k
obj mb = c
obj put = cm
obj put --acl-public = cmp
obj get = wk
obj rb|del|rm = d
obj setacl = mpk
obj ws-create = mp
obj ws-delete = d
obj ws-info = ok
obj regenerate-keys = mk
obj configure = mk
plugins = o""".splitlines()

VALUES = ["--as-user", "--format", "--delimiter", "--page", "--page-size", "--order-by", "--order", "--cluster", "--label"]
FLAGS = ["--json", "--text", "--markdown", "--ascii-table", "--pretty", "--no-headers", "--all", "--all-columns", "--suppress-warnings", "--no-truncation",
         "--no-retry", "--debug", "--single-table", "--no-defaults", "-h --help", "--version", "--acl-public"]

EXAMPLES = """
linode-cli linodes list | observe
linode-cli --as-user prod --json linodes view 123 | observe | user=prod
linode-cli regions list --text | observe
linode-cli linodes delete 123 | destroy
linode-cli linodes rm 123 | destroy
linode-cli linodes create --type g6-nanode-1 --region eu-central --image linode/debian12 | create execute
linode-cli linodes rebuild 123 --image linode/debian12 --root_pass x | change destroy credential execute
linode-cli linodes shutdown 123 | change destroy
linode-cli linodes reboot 123 | change
linode-cli lke kubeconfig-view 1 --text | credential
linode-cli lke cluster-delete 1 | destroy
linode-cli databases mysql-creds-view 1 | credential
linode-cli volumes create --label x --size 20 | create
linode-cli domains records-create 1 --type A | create
linode-cli firewalls rules-update 1 --inbound x | change destroy
linode-cli profile token-create | create credential
linode-cli object-storage keys-create --label x | create credential
linode-cli obj put --acl-public f bucket | create change publish
linode-cli obj setacl bucket f --acl-public | change publish credential
linode-cli stackscripts create --label x | create change publish
linode-cli obj rb bucket | destroy
linode-cli ssh root@web-1 | credential execute
linode-cli configure | change credential
linode-cli register-plugin x | host
linode-cli remove-plugin x | host
linode-cli --suppress-warnings register-plugin y | host
linode-cli obj ls | observe credential
linode-cli obj get b x.txt | credential
linode-cli set-custom-aliases |
linode-cli frobnicate list | unknown
""".strip().splitlines()


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    import importlib.metadata
    import pickle

    import linodecli

    version = importlib.metadata.version("linode-cli")
    with open(os.path.join(linodecli.__path__[0], "data-3"), "rb") as f:
        ops = pickle.load(f)
    rules = [line.split() for line in RULES]
    used = set()
    rows = {e: [] for e in ORDER}
    for line in EXTRA:
        pattern, _, letters = line.rpartition(" = ")
        for letter in letters:
            rows[LETTERS[letter]].append(pattern)
    count = 0
    for group in sorted(k for k in ops if not k.startswith("_")):
        by_letter = {}
        for verb, op in sorted(ops[group].items()):
            method = str(op.method).upper()
            for name in [verb, *(op.action_aliases or [])]:
                effects = METHOD[method]
                for i, (g, verbs, letters) in enumerate(rules):
                    if fnmatchcase(group, g) and any(fnmatchcase(name, v) for v in verbs.split("|")):
                        effects = letters
                        used.add(i)
                count += 1
                for letter in effects:
                    by_letter.setdefault(letter, []).append(name)
        for letter, names in sorted(by_letter.items()):
            rows[LETTERS[letter]].append(group + " " + "|".join(sorted(names)))
    for i, r in enumerate(rules):
        if i not in used:
            print("rule fits no verb:", *r, file=sys.stderr)
    print(count, "verbs", file=sys.stderr)
    out = ['name = "linode-cli"', 'aliases = ["linode", "lin"]', 'system = "linode"', f'source = "linode-cli {version}, its own operations; effects by hand"',
           'script = "grammar/tools/linode-cli.py"', "", "values = [" + ", ".join(quote(v) for v in VALUES) + "]", "optional = []",
           "flags = [" + ", ".join(quote(v) for v in FLAGS) + "]", "", "[scope]", 'user = ["--as-user"]', "", "[verbs]"]
    for e in ORDER:
        out.append(f"{e} = [")
        out += ["  " + quote(r) + "," for r in rows[e]]
        out.append("]")
    for line in EXAMPLES:
        command, effects, *scope = [x.strip() for x in f"{line} ".split(" | ")]
        out += ["", "[[example]]", "command = " + quote(command), "effects = [" + ", ".join(map(quote, effects.split())) + "]"]
        if scope:
            out.append("scope = { " + ", ".join(k + " = " + quote(v) for k, v in (x.split("=") for x in scope[0].split())) + " }")
    print("\n".join(out))


if __name__ == "__main__":
    main()
