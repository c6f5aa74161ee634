#!/usr/bin/env python3
"""Makes the effect table of the Oracle Cloud command line from oci-cli's own command tree.

Run:  pip install oci-cli
      python3 grammar/tools/oci.py > grammar/effects/oci.toml

It loads the commands alone: no credentials, no network. The output is the same for the same version.
An effect comes from the first word of a verb (FIRST; of the group above where the last word is a kind), then from the rules (RULES) in order.
A verb that neither decides ends the run with an error: decide it and add it.
"""
import re
import sys
from fnmatch import fnmatchcase

LETTERS = {"o": "observe", "c": "create", "m": "change", "d": "destroy", "p": "publish", "k": "credential", "x": "execute", "h": "host"}
ORDER = ["observe", "create", "change", "destroy", "publish", "credential", "execute", "host"]

FIRST = {}
for effects, words in {
    "o": "list get summarize search validate request download head analyze test retrieve query verify detect check estimate scan compare preview show anomaly parse fetch suggest"
         " calculate discover evaluate read summary extract filter predict listing resolve span aggregate lookup certificate object process-x recommendations users expand"
         " list_taskrun_lineages connection resource saas content report-x embed stream wallet assemble background prepare vmware rerank autocomplete free structured view errors"
         " logs code synthesize collect show-x by count describe translate stat status chat-x preview-x summarise find heartbeat oracle-x",
    "oc": "export asynchronous synchronous capture snapshot-x",
    "c": "create bulk generate launch clone copy batch submit upload replicate register ingest backup local remote snapshot new add-x post report write provision stage publish"
         " import-x schedule-x from with local-clone clone-x book",
    "cm": "put import restore load append sync mirror upsert cfg-x commit convert",
    "m": "update change add enable cancel patch start refresh activate attach configure install modify set upgrade schedule apply resume trigger migrate scale execute-x manage cfg approve"
         " renew associate move extend accept deploy perform reschedule manual confirm assign unpause edit complete skip rename unset recover resize make mount reorder review ignore recreate"
         " promote initiate reactivate send connect reencrypt pay auto pin unpin start_replication termination process alerts implement reopen decline like unlike toggle peer snooze override"
         " addlock removelock onboard recall release suppress unsuppress respond mark controlled advertise swap inplace downgrade-x handle resend interaction configureoutboundcluster resizehorizontal"
         " resizevertical synchronize unapprove rerun authorize setup unapply reconfigure restart reboot basic apex fn container pbf archive default soft softreset subset mask shrink relocate service"
         " close replace create_ldap_bind_connector train reset rotate pause withdraw reject invite instance cluster request-change async clear save deliver track retry un approve-x mysql postgresql oracle",
    "md": "disable stop deactivate detach drop switchover failover switch suspend abort disassociate force rollback revoke unassign unmount unsubscribe retire reinstate softstop fail disaster"
          " offboard unregister ipv6 private downgrade action",
    "d": "delete remove terminate purge cascading cascade uninstall deregister clean shred empty",
    "x": "run execute invoke chat",
    "k": "sign encrypt decrypt authenticate bootstrap config keys pkcs11 oci raw repair",
}.items():
    for w in words.split():
        if not w.endswith("-x"):
            assert w not in FIRST, w
            FIRST[w] = effects

SECRET_WORD = re.compile(r"(^|[ -])(iam|identity-domains|identity-data-plane|kms|vault|secrets?|certs-mgmt|certificates?|credentials?|password|passwords|api-keys?|auth-tokens?|tokens?|keys?|key|pwd"
                         r"|users?|polic(y|ies)-x|privileges|admin-x|wallet|smtp|customer-secret-key|preauth-request|bastion|access-request|delegate-access-control|apiaccesscontrol|opctl|service-principal|pkcs|kerberos|ldap|principal|idp|saml)($|[ -])")
SECRET_NOT = re.compile(r"^(iam (tag|compartment|tag-namespace|tag-default|region) )|with-(password|secret|pwd)|-credential-details|key-x|data-safe|apm-config")

RULES = """
setup * mk
setup autocomplete|setup repair-file-permissions|setup oci-cli-rc m
session authenticate|session refresh|session export|session import k
session terminate dk
session validate o
# secrets
secrets secret-bundle get*|secrets *get* k
secrets *list* o
vault secret create* ck
vault *list|vault *get o
kms crypto * k
kms crypto *verify* o
kms management key create|kms management vault create ck
kms *schedule-deletion|kms *schedule-key-deletion|kms *delete dk
kms *disable mdk
kms *list|kms *get o
kms *export* k
certificates *bundle get* k
db autonomous-database generate-wallet|db *generate-autonomous-database-wallet|db autonomous-database-wallet generate|db *wallet* k
db *wallet rotate|db *wallet update mk
iam *list|iam *get|iam *search|iam region* o
iam user ui-password create-or-reset|iam auth-token create|iam customer-secret-key create|iam smtp-credential create|iam user api-key upload|iam db-credential create|iam user * create* ck
iam *delete dk
iam compartment delete|iam tag* delete|iam tag* bulk-delete d
iam user api-key delete dk
identity-domains *list|identity-domains *get|identity-domains *search o
identity-domains *delete dk
identity-domains *create ck
ce cluster create-kubeconfig mk
ce cluster generate-token k
ce cluster delete d
bastion session create* kx
bastion session list|bastion session get o
bastion session delete|bastion bastion delete d
artifacts container image delete|artifacts generic artifact delete d
artifacts container repository update mp
os preauth-request create pk
os preauth-request list|os preauth-request get o
os preauth-request delete dk
# object storage
os object put|os object bulk-upload cm
os object get|os object bulk-download|os object head|os object list* o
os object sync cmd
os object bulk-delete*|os object delete|os bucket delete d
os object rename|os object restore|os object update-storage-tier m
os object copy cm
os multipart abort d
os bucket create c
os bucket update m
os object-lifecycle-policy put|os retention-rule * md
os retention-rule list|os retention-rule get o
os ns update-metadata m
os ns get* o
os replication make-bucket-writable m
streaming stream message put c
streaming stream message get o
queue *put-messages|queue messages put-messages c
queue messages get-messages o
queue *delete-message* d
# execute
compute instance launch* cx
compute instance action md
compute instance terminate d
compute instance get-windows-initial-creds k
compute console-history get-content|compute *get-console-history-content o
compute instance-console-connection create* kx
compute instance-console-connection get|compute instance-console-connection list ko
compute-management instance-pool reset|compute-management instance-pool softreset|compute-management instance-pool stop|compute-management instance-pool softstop md
instance-agent command create* x
instance-agent command cancel m
fn function invoke x
data-flow run create|data-flow run submit|data-science job-run create*|ai * create-x|batch batch-job create|devops build-run create*|devops deployment create* cx
data-flow run *cancel|data-flow run *delete m
container-instances container-instance create* cx
resource-manager job create* cmdkx
resource-manager stack create* c
resource-manager job get-job-tf-state|resource-manager job get-tf-state|resource-manager stack get-stack-tf-state|resource-manager *tf-state* k
resource-manager job get-job-logs* o
dbtools-runtime connection execute-sql * ocmd
database-management *execute*|database-management *run* x
nosql query execute ocmd
nosql query prepare|nosql query summarize o
nosql row update|nosql row put cm
search resource * o
log-analytics query * o
log-analytics storage purge* d
logging-search * o
generative-ai* *chat*|generative-ai* *embed*|generative-ai* *generate-text*|generative-ai* *summarize*|generative-ai* *rerank* x
model-deployment * x
ai * batch-*|ai-vision analyze*|ai-document analyze*|ai *detect*|speech synthesize* o
iot digital-twin-instance invoke* x
bds instance execute-bootstrap-script* mx
bds instance generate-* k
os-management-hub *install*|os-management *install*|os-management-hub *update-all* mx
dns record *update|dns zone *update|dns *patch md
dns record *get|dns *list|dns *get o
dns record *delete|dns zone delete d
ons message publish|ons *publish m
monitoring metric-data post c
limits *list|limits *get o
audit event list o
audit config update md
cloud-guard *update|cloud-guard *delete md
logging log delete|logging log-group delete d
network security-list update|network nsg rules add|network nsg rules update m
network public-ip delete d
network ip-sec-psk *|network ip-sec-tunnel-shared-secret get|network ip-sec-psk get k
network ip-sec-psk update mk
network cpe get-cpe-device-config-content|network *device-config* k
email-data-plane *submit* m
db *restore md
db *failover*|db *switchover*|db *reinstate* md
dif stack deploy* cmx
marketplace-publisher *publish* cp
marketplace-publisher *un-publish md
marketplace-private-offer offer offer send mp
organizations * mk
organizations *list|organizations *get o
organizations *delete dk
delegate-access-control *list|delegate-access-control *get|apiaccesscontrol *list|apiaccesscontrol *get|opctl *list|opctl *get|bastion *list|bastion *get o
opensearch *update|opensearch *create =
container-registry access-token get|iam db-token get|ocvs sddc retrieve-password|opsi operations-insights-warehouses download-warehouse-wallet|kms *pre-co-user-credentials|jms-java-downloads java-download-token get|self subscription subscription-token get|dbtools-runtime *credential get|wlms wls-domain get-credential k
compute instance get-windows-initial-creds k
iam region-subscription create c
database-management job-run get|database-management job-run list|marketplace-publisher * get|marketplace-publisher * list-*|organizations * list-*|os-management-hub * list-* o
bastion session create* ckx
compute instance-console-connection create ckx
instance-agent command create cx
organizations child-tenancy create|organizations domain create|organizations domain-governance create|organizations sender-invitation create|organizations subscription-mapping create ck
os preauth-request create cpk
os retention-rule create cmd
resource-manager job create-import-tf-state-job cmk
data-flow run delete d
""".strip().splitlines()

EXTRA = """--help = o
$ --version = o
$ --release-info = o
$ --latest-version = o
raw-request --http-method=get|GET|head|HEAD = ok
raw-request --http-method=post|POST|put|PUT|patch|PATCH = cmdkxp
raw-request --http-method=delete|DELETE = dk
raw-request = cmdkxp
compute instance action --action=start|START = m
compute instance action --action=softreset|SOFTRESET|reset|RESET = m
os bucket create --public-access-type=ObjectRead* = cp
os bucket update --public-access-type=ObjectRead* = mp
os object sync|bulk-upload|bulk-delete|bulk-download --dry-run = o""".splitlines()

VALUES = ["--config-file", "--profile", "--cli-rc-file --defaults-file", "--opc-request-id --opc-client-request-id --request-id", "--region", "--endpoint", "--connection-timeout",
          "--federation-endpoint", "--read-timeout", "--cert-bundle", "--output", "--query", "--auth", "--auth-purpose", "--generate-param-json-input", "--proxy", "--max-retries",
          "--enable-propagation", "-c --compartment-id", "--http-method", "--action", "--public-access-type", "--namespace --namespace-name", "--bucket-name --bucket", "--target-uri"]
FLAGS = ["-v --version", "--release-info", "--latest-version", "--realm-specific-endpoint", "--enable-dual-stack", "--raw-output", "--generate-full-command-json-input", "--no-retry",
         "-d --debug", "-i --cli-auto-prompt", "-h --help", "--force", "--all", "--dry-run"]

EXAMPLES = """
oci compute instance list -c ocid1.x | observe | compartment=ocid1.x
oci --profile PROD --region eu-frankfurt-1 compute instance terminate --instance-id i --force | destroy | profile=PROD region=eu-frankfurt-1
oci compute instance launch --shape s | create execute
oci compute instance action --action STOP --instance-id i | change destroy
oci compute instance action --action START --instance-id i | change
oci os object list -bn b | observe
oci os object put -bn b --file f | create change
oci os object bulk-delete -bn b --force | destroy
oci os bucket create --name b --public-access-type ObjectRead | create publish
oci os bucket update --name b --public-access-type ObjectRead | change publish
oci os preauth-request create -bn b --name n --access-type AnyObjectRead --time-expires t | create publish credential
oci secrets secret-bundle get --secret-id s | credential
oci kms crypto decrypt --ciphertext c --key-id k | credential
oci iam policy create --name p --statements s | create credential
oci iam user delete --user-id u | destroy credential
oci iam user list | observe
oci session authenticate | credential
oci ce cluster create-kubeconfig --cluster-id c | change credential
oci ce cluster generate-token --cluster-id c | credential
oci db autonomous-database delete --autonomous-database-id d | destroy
oci fn function invoke --function-id f --file - --body b | execute
oci resource-manager job create-apply-job --stack-id s | create change destroy credential execute
oci instance-agent command create --content c --target t | create execute
oci raw-request --http-method DELETE --target-uri u | destroy credential
oci raw-request --http-method GET --target-uri u | observe credential
oci network vcn create --cidr-block 10.0.0.0/16 | create
oci frobnicate list | unknown
""".strip().splitlines()


def inventory():
    sys.path.pop(0)  # this file's folder: its name is that of a package
    import importlib.metadata

    import click
    from oci_cli import dynamic_loader
    from oci_cli.cli_root import cli

    dynamic_loader.load_all_services()
    out = []

    def walk(command, path, ctx):
        if hasattr(command, "list_commands"):
            for name in sorted(command.list_commands(ctx)):
                sub = command.get_command(ctx, name)
                if sub:
                    walk(sub, path + (name,), ctx)
        else:
            out.append(path)

    walk(cli, (), click.Context(cli))
    return importlib.metadata.version("oci-cli"), out


def decide(path, rules, used, undecided):
    text = " ".join(path)
    got = None
    for word in reversed(path):
        first = word.split("-")[0]
        if word in FIRST or first in FIRST:
            got = set(FIRST.get(word, FIRST.get(first)))
            break
    if got and got != {"o"} and got != {"o", "c"} and SECRET_WORD.search(text) and not SECRET_NOT.search(text):
        got.add("k")
    for i, (pattern, effects) in enumerate(rules):
        if not any(fnmatchcase(text, p) for p in pattern.split("|")):
            continue
        used.add(i)
        if effects != "=":
            got = set(effects)
    if not got:
        undecided.append(text)
        got = {"o"}
    return frozenset(got)


def main():
    version, paths = inventory()
    rules, used, undecided = [], set(), []
    for line in RULES:
        if line and not line.startswith("#"):
            pattern, _, effects = line.rpartition(" ")
            rules.append((pattern.strip(), effects))
    skip = {"raw-request"}  # it has rows of its own
    table = {p: decide(p, rules, used, undecided) for p in paths if " ".join(p) not in skip}
    if undecided:
        raise SystemExit("not decided:\n  " + "\n  ".join(sorted(set(undecided))))
    for i, (pattern, effects) in enumerate(rules):
        if i not in used:
            print("rule fits no verb:", pattern, effects, file=sys.stderr)
    rows = {e: [] for e in ORDER}
    for line in EXTRA:
        pattern, _, letters = line.rpartition(" = ")
        for letter in letters:
            rows[LETTERS[letter]].append(pattern)
    for pattern, letter in factor(table):
        rows[LETTERS[letter]].append(pattern)
    print(len(paths), "verbs", file=sys.stderr)
    write(rows, version)


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def factor(table, exact=False):
    """Rows (pattern, letter) that give back the table."""
    parents = {}
    for path, effects in table.items():
        parents.setdefault((len(path), path[:-2]), {})[path] = effects
    out = []
    for (depth, parent), members in sorted(parents.items()):
        verbs = {}
        for path, effects in members.items():
            verbs.setdefault(path[-1], {}).setdefault(effects, set()).add(path[-2:-1])
        # (groups, letters) -> verbs
        groups_of = {}
        for verb, sets in verbs.items():
            for effects, groups in sets.items():
                if len(sets) == 1 and not exact:
                    key = ("*", effects)  # all groups below the parent agree
                else:
                    key = (tuple(sorted(groups)), effects)
                groups_of.setdefault(key, []).append((verb, groups))
        by_row = {}
        for (key, effects), items in groups_of.items():
            groups = sorted(set().union(*(g for _, g in items)))
            names = sorted(v for v, _ in items)
            for letter in effects:
                head = "|".join(g[0] for g in groups if g)
                by_row.setdefault((head, letter), set()).update(names)
        for (head, letter), names in sorted(by_row.items()):
            out.append((" ".join(x for x in (*parent, head, "|".join(sorted(names))) if x), letter))
    return out


def write(rows, version):
    out = ['name = "oci"', "aliases = []", 'system = "oci"', f'source = "oci-cli {version}, its own command tree; effects by hand"',
           'script = "grammar/tools/oci.py"', "",
           "values = [" + ", ".join(map(quote, VALUES)) + "]", "optional = []", "flags = [" + ", ".join(map(quote, FLAGS)) + "]", "",
           "[scope]", 'profile = ["--profile", "$OCI_CLI_PROFILE"]', 'region = ["--region", "$OCI_CLI_REGION"]', 'compartment = ["--compartment-id"]', "", "[verbs]"]
    for e in ORDER:
        out.append(f"{e} = [")
        out += ["  " + quote(r) + "," for r in rows[e]]
        out.append("]")
    for line in EXAMPLES:
        command, effects, *scope = [x.strip() for x in line.split(" | ")]
        out += ["", "[[example]]", "command = " + quote(command), "effects = [" + ", ".join(map(quote, effects.split())) + "]"]
        if scope:
            out.append("scope = { " + ", ".join(k + " = " + quote(v) for k, v in (x.split("=") for x in scope[0].split())) + " }")
    print("\n".join(out))


if __name__ == "__main__":
    main()
