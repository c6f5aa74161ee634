#!/usr/bin/env python3
"""Makes the effect table of the AWS command line from the models that botocore and awscli ship.

Run:  pip install awscli botocore
      python3 grammar/tools/aws.py > grammar/effects/aws.toml

It reads the models alone: no credentials, no network. The output is the same for the same two versions.
An effect comes from the first word of a verb (FIRST), then from the rules (RULES) in order. A first word that FIRST
does not know ends the run with an error: decide it and add it.
"""
import os
import re
import sys
from fnmatch import fnmatchcase

os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ.pop("AWS_PROFILE", None)

# awscli brings an older copy of botocore and puts it in the place of the real one: the real one's models are read before.
import botocore
import botocore.session
from botocore import xform_name

BOTOCORE = botocore.__version__

LETTERS = {"o": "observe", "c": "create", "m": "change", "d": "destroy", "p": "publish", "k": "credential", "x": "execute", "h": "here"}
ORDER = ["observe", "create", "change", "destroy", "publish", "credential", "execute", "here"]

# The first word of a verb -> its effects. `batch`, `admin` and `bulk` look at the words behind.
FIRST = {}
for effects, words in {
    "o": "list get describe search query scan retrieve select lookup view head check validate verify evaluate simulate detect count"
         " estimate preview test discover resolve is contains classify infer recognize predict analyze compare suggest geocode"
         " autocomplete reverse snap calculate rerank rescore translate synthesize download forecast filter probe domain phone"
         " carrier decode optimize agentic render introspect transcribe sample",
    "oc": "export",
    "c": "create instantiate register request submit copy clone purchase subscribe reserve issue allocate launch generate replicate"
         " initialize install bundle provision post channel index record open upload write invite ingest",
    "cm": "put import restore complete compose distribute convert populate build setup",
    "m": "update tag untag start associate modify cancel add enable set send accept reject attach detach disassociate"
         " dissociate reboot publish resume activate authorize apply confirm replace configure change evict notify retry merge initiate"
         " pause upgrade move promote assign unassign restart resend refresh connect report approve suspend archive unarchive prepare"
         " define acknowledge redact continue sign claim join extend undeprecate deprecate split expire transfer"
         " allow label unlabel link monitor unmonitor schedule reload reorder advertise lock unlock commit manage rename sync opt"
         " exchange reimport enter exit process save synchronize redeem provide poll receive respond signal"
         " skip insert checkpoint peer vote take meter mark insight amend begin resize group return push introduce renew clear flush"
         " invalidate rebalance increase decrease swap override unshare transact mute"
         " acquire resync checkout finalize redrive migrate rotate dispute decline deliver reset stop global forgot close"
         "",
    "md": "disable deactivate failover switchover rollback abort release disconnect withdraw deprovision rebuild end"
          " drain forget dismiss discard unlink unsubscribe unpeer undeploy leave deny disallow ungroup shutdown shrink backtrack"
          " recall retire",
    "d": "delete remove deregister unregister terminate revoke purge dispose",
    "x": "invoke execute run converse chat decapsulate",
    "cmx": "deploy",
    "k": "assume decrypt encrypt re derive encapsulate grant deauthorize regenerate logout share",
}.items():
    for w in words.split():
        assert w not in FIRST, w
        FIRST[w] = effects

# Verbs that change something and whose name speaks of secrets, keys, identities or permissions: credential too.
SECRET_WORD = re.compile(
    r"(^|-)(secrets?|tokens?|passwords?|credentials?|api-keys?|access-keys?|private-key|public-key|key-pairs?|ssh|host-key|login|mfa|pin|otp"
    r"|permissions?|grants?|acls?|identity-provider|saml|oidc|open-id|trust|trusts|certificates?|principals?|admin-account|delegated|delegation"
    r"|roles?|users?|security-profiles?|group-member|membership|members?|resource-policy|access-policy|repository-policy|bucket-policy"
    r"|bucket-acl|object-acl|key-policy|auth-policy|file-system-policy|topic-policy|queue-policy|cluster-policy|vault-access-policy"
    r"|sharing|share|shares|invitation|invitations|handshake|authorizer|authorizers|idp|ldap|radius|sso|kerberos|oauth2?|auth|authorization"
    r"|encryption|kms|chap|hsm|access-point-policy|function-url-config|stream-key|stream-keys|signing-profile|crl|trust-anchor)(-|$)")
SECRET_NOT = re.compile(r"network-acl|web-acl|ip-acl|change-token|user-profile|users?-message|user-import-job|hyper|import-users-job|user-settings|user-hierarchy|user-status|user-data")

IDENTITY = ("iam sso-admin identitystore sso sso-oidc sts secretsmanager kms cognito-idp cognito-identity acm acm-pca rolesanywhere ds-data ram"
            " lakeformation signin account-access account-access-runtime iam-toolbox verifiedpermissions accessanalyzer cloudhsm cloudhsmv2"
            " payment-cryptography pca-connector-ad pca-connector-scep ec2-instance-connect signer eks-auth").split()

# service pattern, verb patterns, effects. `+x` adds, `-x` takes away, plain letters replace. Later rules count after earlier ones.
RULES = """
# --- words whose meaning depends on the noun
* start-*-job|start-*-job-v2|start-*-run|start-*-execution|start-*-task|start-*-query|start-query|start-*-export|start-*-import|start-import|start-export|start-*-analysis|start-*-assessment|start-*-scan|start-*-session|start-session|start-*-report|start-*-detection|start-*-recognition|start-*-search|start-*-tracking c
* start-*-instance|start-*-instances|start-*-cluster m
* remove-tags*|remove-attributes* m
* revoke-* +k
* detach-*|disassociate-*|dissociate-*|unassign-* md
* disassociate-tags*|disassociate-lenses|disassociate-*-tags m
* stop-*-job|stop-*-run|stop-*-execution|stop-*-query|stop-query|stop-*-task m
* stop-*instance|stop-*instances|stop-instance*|stop-*cluster|stop-*database|stop-task|stop-*fleet*|stop-application|stop-app-block-builder|stop-image-builder|stop-channel|stop-flow|stop-pipeline|stop-pipe|stop-server|stop-graph|stop-canary|stop-stream|stop-composition|stop-recommender|stop-project-version|stop-mlflow*|stop-inference-*|stop-db-*|stop-multiplex|stop-input-device|stop-router-*|stop-bot|stop-campaign|stop-node|stop-crawler*|stop-trigger|stop-stream-processor|stop-workspaces*|stop-replication*|stop-data-migration|stop-monitoring-*|stop-dev-environment|stop-service-deployment|stop-metric-streams|stop-replication-to-replica|stop-retraining-scheduler|stop-product-subscription|stop-migration md
* stop-logging|stop-configuration-recorder|stop-monitoring-members|stop-activity-stream|stop-access-logging|stop-event-data-store-ingestion|stop-*-encryption|stop-telemetry-*|stop-otel-*|stop-continuous-export|stop-db-instance-automated-backups-replication md
* reboot-*|restart-* m
* cancel-spot-*|cancel-capacity-reservation* md
* pause-cluster|pause-service|pause-replication md
* restore-*volume-from-snapshot md
* authorize-*access*|authorize-data-share|authorize-endpoint* +k
* associate-*member*|associate-*delegat* +k
* delete-*-tags|delete-tags m
* batch-delete-*|batch-terminate*|batch-disassociate-*|batch-remove-*|batch-revoke-* d
* batch-stop*|batch-disable-* md
medialive batch-delete d
medialive batch-start m
medialive batch-stop md
* batch-get-*|batch-describe-*|batch-check-*|batch-detect-*|batch-is-*|batch-read|batch-lookup-*|batch-evaluate-* o
* batch-create-*|batch-import-*|batch-write-*|batch-meter-*|batch-put-*|batch-write cm
* batch-update-*|batch-associate-*|batch-modify-*|batch-suspend-*|batch-unsuspend-*|batch-apply-*|batch-enable-*|batch-start*|batch-grant-*|batch-add-*|batch-reboot-*|batch-replace-*|batch-reinvite-*|batch-reset-*|batch-toggle-*|batch-acknowledge-*|batch-snooze-*|batch-enable-* m
* batch-execute-statement cmd
* batch-export-* oc
* bulk-publish cm
# --- services that hold identities, keys and permissions: each change is credential as well
@identity !observe +k
* !observe~secret +k
# --- getters that are no getters, or show secrets
amplify get-app|get-branch|list-apps|list-branches +k
amplifybackend get-token|get-backend-auth k
amplifyuibuilder exchange-code-for-token|refresh-token k
account-access-runtime get-role-credentials k
acm get-acme-external-account-binding-credentials|export-certificate k
apigateway get-client-certificate* o
appsync list-api-keys k
athena get-session-endpoint +k
athena create-presigned-notebook-url ck
bedrock-agentcore get-resource-*|get-workload-access-token*|complete-resource-token-auth k
chime get-bot|list-bots +k
chime-sdk-meetings get-attendee|list-attendees|create-*attendee* +k
cloudhsmv2 describe-clusters +k
cloudwatchomni get-space-credentials-*|get-space-data-access k
codeartifact get-authorization-token k
codepipeline list-webhooks|get-job-details|get-third-party-job-details|poll-for-* +k
codebuild create-webhook|update-webhook +k
cognito-identity get-credentials-for-identity|get-open-id-token* k
cognito-identity get-id c
cognito-idp describe-user-pool-client|list-user-pool-client-secrets +k
cognito-idp get-client-token|get-derived-token|get-tokens-from-refresh-token|initiate-auth|respond-to-auth-challenge|admin-initiate-auth|admin-respond-to-auth-challenge|associate-software-token|verify-software-token k
cognito-idp get-user-attribute-verification-code m
connect get-federation-token|create-auth-code k
connect create-participant|start-chat-contact|start-web-rtc-contact|start-assistant-contact ck
connectparticipant create-participant-connection ck
databrew send-project-session-action x
datasync describe-location-fsx-ontap|describe-location-fsx-open-zfs +k
datazone get-connection|list-connections|get-iam-portal-login-url +k
datazone get-environment-credentials k
deadline assume-* k
devops-agent associate-service|update-association +k
direct*connect describe-virtual-interfaces|describe-router-configuration +k
ec2 get-password-data|create-key-pair|describe-vpn-connections|get-vpn-connection-device-sample-configuration|export-client-vpn-client-configuration|describe-verified-access-trust-providers|export-verified-access-instance-client-configuration +k
ec2 create-vpn-connection|modify-vpn-*|create-verified-access-trust-provider|modify-verified-access-trust-provider +k
ec2 get-console-output|get-console-screenshot o
ec2 get-serial-console-access-status o
ecr get-authorization-token k
ecr-public get-authorization-token k
eks describe-eks-anywhere-subscription|list-eks-anywhere-subscriptions +k
emr get-cluster-session-credentials|get-*-presigned-url|get-session-endpoint k
emr-containers get-managed-endpoint-session-credentials k
emr-serverless get-session-endpoint|get-dashboard-for-job-run|get-resource-dashboard k
eventbridgev2 describe-event-source +k
evs get-depot-url +k
firehose describe-delivery-stream +k
gamelift get-compute-access|get-compute-auth-token|get-instance-access|request-upload-credentials|get-player-connection-details k
glue get-connection|get-connections|get-session-endpoint +k
iam get-*|list-*|simulate-*|generate-* o
invoicing get-procurement-portal-preference +k
iot create-keys-and-certificate|create-provisioning-claim ck
iotsecuretunneling open-tunnel|rotate-tunnel-access-token +k
iotwireless get-wireless-device|get-wireless-gateway-certificate|get-partner-account|associate-aws-account-with-partner-account +k
ivs get-stream-key|batch-get-stream-key|get-channel|batch-get-channel|get-stream-session|create-channel|update-channel +k
ivs-realtime create-stage|get-ingest-configuration|create-ingest-configuration +k
kinesis-video-signaling get-ice-server-config k
kms get-parameters-for-import|decrypt|generate-*|re-encrypt|derive-*|decapsulate|encapsulate k
kms encrypt|sign|generate-mac k
kms verify|verify-mac|get-public-key|get-key-policy|get-key-rotation-status o
kms disable-key|schedule-key-deletion|delete-imported-key-material|disable-key-rotation|disconnect-custom-key-store mdk
kms cancel-key-deletion|enable-key|enable-key-rotation mk
lakeformation get-temporary-*|assume-* k
lakeformation start-query-planning|start-transaction|commit-transaction|extend-transaction|cancel-transaction -k
lambda-microvms create-microvm-*auth-token k
license-manager get-access-token|checkout-*|create-token +k
lightsail download-default-key-pair|get-bucket-access-keys|get-instance-access-details|get-relational-database-master-user-password|create-container-service-registry-login k
mailmanager get-ingress-point +k
managedblockchain get-accessor|create-accessor +k
mediapackage describe-channel|list-channels|create-channel|update-channel|configure-logs +k
mwaa create-cli-token kx
mwaa create-web-login-token k
payment-cryptography export-key|get-parameters-* k
payment-cryptography-data decrypt-data|encrypt-data|generate-*|re-encrypt-data|translate-* k
pca-connector-scep get-challenge-password k
pcs register-compute-node-group-instance +k
pinpoint get-baidu-channel|get-gcm-channel|update-*-channel +k
quicksight generate-embed-url-*|get-*-embed-url k
redshift get-cluster-credentials*|get-identity-center-auth-token k
redshift-serverless get-credentials|get-identity-center-auth-token k
route53domains retrieve-domain-auth-code|transfer-domain* +k
route53globalresolver get-access-token k
s3api create-session k
s3control get-data-access k
sagemaker create-*presigned* k
secretsmanager get-secret-value|batch-get-secret-value|get-random-password k
secretsmanager validate-resource-policy|list-*|describe-* o
secretsmanager delete-secret dk
signin introspect-* o
sso get-role-credentials|logout k
ssm get-parameter|get-parameters|get-parameters-by-path|get-parameter-history|get-access-token k
ssm get-connection-status o
stepfunctions get-activity-task mx
storagegateway describe-chap-credentials +k
sts get-caller-identity|get-access-key-info|decode-authorization-message o
sts get-federation-token|get-session-token|get-delegated-access-token|get-web-identity-token|get-scoped-credentials|assume-* k
synthetics get-* o
transfer test-identity-provider ox
waf* list-api-keys|get-decrypted-api-key|create-api-key +k
wickr get-oidc-info|get-opentdf-config|register-o* +k
workmail assume-impersonation-role k
workmail create-impersonation-role ck
# --- execute
apigateway test-invoke-* x
amplify start-job|start-deployment cmx
apprunner start-deployment mx
appsync evaluate-* o
athena start-query-execution ocmd
athena start-calculation-execution x
athena start-session cx
autoscaling execute-policy m
autoscaling launch-instances cx
autoscaling start-instance-refresh md
batch submit-* cx
batch cancel-job*|terminate-* d
bcm-dashboards execute-scheduled-report c
bedrock-agentcore start-browser-session|start-code-interpreter-session|invoke-* cx
bedrock-runtime start-async-invoke cx
bedrock-runtime apply-guardrail o
braket create-job|create-quantum-task cx
budgets execute-budget-action md
cleanrooms start-protected-* cx
cloudformation create-stack*|update-stack* +md
cloudformation update-stack|update-stack-set|update-stack-instances cmdk
cloudformation create-stack|create-stack-set|create-stack-instances ck
cloudformation create-change-set c
cloudformation execute-change-set|execute-stack-refactor cmdk
cloudformation rollback-stack|continue-update-rollback|cancel-update-stack md
cloudformation test-type x
cloudformation publish-type p
cloudformation import-stacks-to-stack-set m
cloudformation stop-stack-set-operation m
cloudfront test-* ox
codebuild start-build*|retry-build* cx
codebuild start-sandbox*|start-command-execution cx
codecatalyst start-workflow-run|start-dev-environment* x
codecatalyst stop-dev-environment* md
codecommit merge-* m
codecommit test-repository-triggers x
deploy create-deployment|continue-deployment cmdx
codepipeline start-pipeline-execution|retry-stage-execution|enable-stage-transition mx
codepipeline rollback-stage mdx
connect start-outbound-* c
databrew start-job-run cx
datapipeline activate-pipeline x
datasync start-task-execution cmdx
deadline create-job cx
devicefarm schedule-run|create-test-grid-url|install-to-remote-access-session|create-remote-access-session cx
dynamodb execute-statement|execute-transaction|batch-execute-statement ocmd
dynamodb transact-get-items|batch-get-item o
dynamodb transact-write-items|batch-write-item cmd
dynamodb start-bulk-put-items cm
rds-data execute-sql|execute-statement|batch-execute-statement ocmd
redshift-data execute-statement|batch-execute-statement ocmd
sdb select o
timestream-query execute-scheduled-query cm
timestream-query prepare-query o
neptunedata execute-fast-reset d
neptunedata execute-gremlin-explain-query|execute-open-cypher-explain-query o
neptunedata execute-gremlin-query|execute-gremlin-profile-query|execute-open-cypher-query ocmd
neptunedata manage-* m
neptune-graph execute-query ocmd
neptune-graph reset-graph d
ec2 run-instances|run-scheduled-instances|request-spot-*|create-fleet cx
ec2 send-diagnostic-interrupt md
ec2-instance-connect send-* kx
ecs run-task|start-task cx
ecs create-service|update-service*|create-task-set +x
ecs stop-task md
ecs submit-* m
ecs register-task-definition c
ecs deregister-task-definition d
emr run-job-flow cx
emr add-job-flow-steps|add-steps cx
emr cancel-steps m
emr terminate-* d
emr-containers start-job-run cx
emr-serverless start-job-run|start-session cx
events put-events|put-partner-events cx
evs associate-*|disassociate-* m
fis start-experiment mdx
forecast stop-resource m
gamelift start-fleet-actions m
glue run-statement|start-job-run|start-workflow-run|start-blueprint-run|start-trigger|start-crawler cx
greengrass create-deployment|start-bulk-deployment cmx
greengrassv2 create-deployment cmx
imagebuilder start-image-pipeline-execution|create-image|create-workflow cx
iot create-job|test-invoke-authorizer cx
iot test-authorization o
iot-data publish|send-direct-message m
iot-jobs-data start-command-execution cx
iot-jobs-data start-next-pending-job-execution m
iot-managed-integrations send-managed-thing-command x
iotsitewise execute-query o
iotsitewise execute-action x
iottwinmaker execute-query o
lambda invoke* x
lambda publish-layer-version|publish-version c
lambda update-function-code mx
lambda send-durable-*|checkpoint-durable-execution m
lambda stop-durable-execution md
lambda create-event-source-mapping cx
lightsail create-container-service-deployment cmx
lightsail create-instances cx
networkmanager execute-core-network-change-set md
omics start-run|start-run-batch cx
personalize stop-solution-version-creation m
qconnect start-content-upload c
sagemaker create-training-job|create-processing-job|create-transform-job|create-notebook-instance|create-endpoint|create-*-job*|start-pipeline-execution|start-notebook-instance|start-session|create-app|create-cluster +x
sagemaker stop-notebook-instance|stop-mlflow-tracking-server|stop-monitoring-schedule md
sagemaker send-pipeline-execution-step-* m
sagemakertrainingsessionruntime execute-* x
servicecatalog execute-provisioned-product-plan|execute-provisioned-product-service-action|provision-product|update-provisioned-product cmdx
ssm send-command|start-session|resume-session kx
ssm send-command|start-automation-execution|start-associations-once|start-change-request-execution cmdx
ssm start-session|resume-session x
ssm start-execution-preview o
ssm start-access-request k
ssm create-association*|update-association +x
ssm terminate-session md
ssm label-parameter-version|unlabel-parameter-version|put-parameter|delete-parameter* +k
ssm cancel-command m
stepfunctions start-execution|start-sync-execution|redrive-execution|test-state cx
stepfunctions send-task-* m
swf start-workflow-execution cx
swf terminate-workflow-execution d
synthetics start-canary* x
transfer start-file-transfer|start-remote-move cm
transfer start-remote-delete d
workspaces deploy-workspace-applications|create-workspaces cx
workspaces rebuild-workspaces|restore-workspace|migrate-workspace md
# --- create or change that the first word does not show
accessanalyzer start-* c
accessanalyzer *-archive-rule|update-findings|tag-resource|untag-resource -k
accessanalyzer generate-finding-recommendation o
amplify generate-access-logs o
auditmanager validate-* o
b2bi generate-mapping o
bedrock-agent-runtime generate-query|optimize-prompt|retrieve* o
bedrock-agent-runtime create-session|put-invocation-step|create-invocation c
cloudtrail generate-query|start-query|cancel-query o
cloudtrail stop-logging|delete-trail|delete-event-data-store d
cloudtrail update-trail|put-event-selectors|put-insight-selectors|put-event-configuration md
cloudwatch put-metric-data c
cloudwatch disable-alarm-actions|disable-insight-rules md
cloudfront create-invalidation* m
deploy stop-deployment md
dms test-connection m
dms reload-* md
ebs complete-snapshot c
ec2 authorize-security-group-*|authorize-client-vpn-ingress m
ec2 revoke-security-group-*|revoke-client-vpn-ingress md
ec2 replace-network-acl*|replace-route*|modify-vpc-*|modify-subnet-* m
ec2 modify-instance-attribute|modify-instance-metadata-options m
ec2 create-replace-root-volume-task md
ec2 reset-image-attribute|reset-snapshot-attribute|reset-fpga-image-attribute mk
ec2 enable-serial-console-access|disable-serial-console-access mk
ec2 accept-*|reject-* m
ec2 accept-vpc-peering-connection|accept-transit-gateway-*|accept-vpc-endpoint-connections mk
ec2 describe-*|get-*|search-* =
ec2 create-store-image-task c
ec2 report-instance-status m
ec2 deprovision-* md
ec2 bundle-instance md
ec2 monitor-instances|unmonitor-instances m
elasticache test-failover md
elasticache test-migration o
elasticbeanstalk request-environment-info c
elasticbeanstalk retrieve-environment-info|check-dns-availability o
elasticbeanstalk rebuild-environment|terminate-environment|abort-environment-update md
elasticbeanstalk restart-app-server m
elb deregister-instances-from-load-balancer md
elb disable-availability-zones-for-load-balancer|detach-load-balancer-from-subnets md
elbv2 deregister-targets md
fsx restore-volume-from-snapshot|copy-snapshot-and-update-volume md
fsx release-file-system-nfs-v3-locks m
iotwireless test-wireless-device m
kinesis split-shard|merge-shards m
kendra clear-query-suggestions md
lexv2-models generate-bot-element o
lightsail test-alarm m
lightsail reset-distribution-cache m
logs test-*|filter-log-events|start-query|stop-query|start-live-tail|get-* o
logs put-retention-policy md
logs put-subscription-filter|put-destination-policy|put-resource-policy +k
macie2 test-custom-data-identifier o
mturk get-file-upload-url o
mwaa publish-metrics|invoke-rest-api mx
organizations leave-organization|close-account|remove-account-from-organization|delete-* dk
organizations attach-policy|detach-policy|disable-*|enable-*|update-policy|create-policy|move-account|invite-*|create-*account|delete-policy|deregister-*|register-* +k
pinpoint verify-otp-message m
polly synthesize-speech o
ram disassociate-*|delete-* dk
rds backtrack-db-cluster|failover-*|switchover-*|reboot-db-* md
rds reboot-db-* m
rds modify-db-*snapshot-attribute +pk
rds download-db-log-file-portion o
redshift reboot-cluster m
redshift revoke-*|authorize-* +k
redshift cancel-resize m
route53 change-resource-record-sets cmd
route53 change-tags-for-resource m
route53 test-dns-answer o
route53 disable-hosted-zone-dnssec|deactivate-key-signing-key mdk
s3api head-*|select-object-content|get-*|list-* o
s3api complete-multipart-upload|create-multipart-upload|upload-part*|put-object|copy-object cm
s3api abort-multipart-upload d
s3api put-bucket-lifecycle*|put-object-lock-configuration|put-bucket-versioning md
s3api put-bucket-replication|put-bucket-ownership-controls +k
s3api restore-object m
s3api rename-object md
s3api delete-public-access-block|delete-bucket-ownership-controls dpk
s3api put-bucket-website mp
s3api write-get-object-response m
s3control submit-multi-region-access-point-routes md
s3control create-job cmd
sagemaker search|render-ui-template o
schemas export-schema o
servicediscovery discover-* o
ses verify-* c
sesv2 test-* o
ses test-* o
sns publish|publish-batch m
sns verify-* m
sns opt-in-phone-number m
sns check-* o
sqs purge-queue d
sqs receive-message m
s3api get-object|get-object-torrent h
mediastore-data get-object h
sqs change-message-visibility* m
sqs delete-message* d
swf poll-for-* mx
datapipeline poll-for-task mx
kinesis receive-* o
kinesis put-record*|put-*-records c
textract start-* c
timestream-write write-records c
translate translate-* o
waf* disassociate-web-acl|delete-* d
waf* get-change-token* o
waf* generate-* o
xray put-* c
# --- security controls: to switch one off is destroy
guardduty stop-*|disassociate-*|disable-*|delete-*|archive-findings d
guardduty update-detector|update-filter|update-malware-* md
guardduty create-filter cmd
securityhub disable-*|batch-disable-*|disassociate-*|delete-* d
securityhub update-standards-control|batch-update-standards-control-associations|update-security-control|update-security-hub-configuration md
macie2 disable-*|disassociate-*|delete-* d
inspector2 disable|disable-*|disassociate-* d
detective disable-*|disassociate-*|stop-* d
configservice stop-*|delete-* d
shield disable-*|disassociate-*|delete-* d
account disable-region mdk
# --- to make public, or to hand over: publish
s3api put-bucket-policy|put-bucket-acl|put-object-acl|put-public-access-block|put-bucket-cors mpk
s3api put-bucket-cors m
s3control put-public-access-block|put-access-point-policy*|put-multi-region-access-point-policy|put-bucket-policy mpk
s3control delete-public-access-block dpk
ec2 modify-image-attribute|modify-snapshot-attribute|modify-fpga-image-attribute|enable-image-block-public-access|enable-snapshot-block-public-access mpk
ec2 enable-image-block-public-access|enable-snapshot-block-public-access m
ec2 disable-image-block-public-access|disable-snapshot-block-public-access mdpk
ec2 modify-vpc-endpoint-service-permissions|create-launch-template* +k
ec2 create-launch-template* c
lambda add-permission|add-layer-version-permission|put-resource-policy|create-function-url-config|update-function-url-config mpk
lambda create-function-url-config cpk
ecr set-repository-policy|put-registry-policy mpk
ecr-public create-*|put-*|upload-*|complete-*|initiate-*|set-*|tag-* +p
ecr-public batch-delete-image|delete-repository dp
codeartifact publish-package-version|copy-package-versions|update-package-versions-status cp
codeartifact dispose-package-versions|delete-package* dp
codeartifact put-*-permissions-policy mpk
serverlessrepo put-application-policy mpk
serverlessrepo create-application* cp
serverlessrepo update-application mp
serverlessrepo unshare-application mk
apigatewayv2 publish-portal|put-portal-product-sharing-policy mp
apigatewayv2 disable-portal md
dataexchange create-data-grant|update-revision|publish-* +p
dataexchange revoke-revision dpk
sqs add-permission|set-queue-attributes mpk
sns add-permission|set-topic-attributes mpk
glacier set-vault-access-policy mpk
kms put-key-policy mpk
kms create-grant cpk
secretsmanager put-resource-policy mpk
opensearch update-domain-config mpk
opensearch create-domain ck
es update-elasticsearch-domain-config mpk
efs put-file-system-policy mpk
backup put-backup-vault-access-policy mpk
backup delete-*|stop-backup-job|disassociate-* d
rds modify-db-snapshot-attribute|modify-db-cluster-snapshot-attribute mpk
docdb modify-db-cluster-snapshot-attribute mpk
neptune modify-db-cluster-snapshot-attribute mpk
redshift authorize-snapshot-access|authorize-data-share mpk
lightsail update-bucket|set-resource-access-for-bucket mpk
mediastore put-container-policy mpk
cloudfront create-distribution*|create-streaming-distribution* cp
cloudfront update-distribution|publish-function mp
eks update-cluster-config|create-cluster +p
ram associate-resource-share|update-resource-share mpk
ram create-resource-share cpk
marketplace-catalog start-change-set cmdp
ssm modify-document-permission mpk
imagebuilder put-image-policy|put-component-policy|put-*-policy mpk
imagebuilder distribute-image cp
iot attach-policy|detach-policy|create-policy*|delete-policy*|attach-principal-policy|detach-principal-policy|set-default-policy-version|update-certificate|attach-thing-principal|detach-thing-principal|register-*certificate* +k
eks *-access-entry|*-access-policy|*-pod-identity-association|*-identity-provider-config !observe+k
eks create-access-entry|create-pod-identity-association ck
mediaconnect grant-flow-entitlements mk
redshift deauthorize-data-share mdk
events deauthorize-connection mdk
ds share-directory|unshare-directory mk
chime logout-user mk
ds reset-user-password|enable-*|disable-*|create-*|connect-directory|register-certificate +k
events put-permission mpk
quicksight update-*-permissions mpk
quicksight update-public-sharing-settings mpk
workspaces-web expire-session md
rolesanywhere import-crl mk
amplify create-app|update-app|create-branch|update-branch +k
wafv2 put-permission-policy mk
""".strip().splitlines()

# Verbs that only the command line has, of versions 1 and 2: full path -> effects.
CUSTOM = {
    "s3 ls": "o", "s3 mb": "c", "s3 rb": "d", "s3 rm": "d", "s3 presign": "k", "s3 website": "mp",
    "ecr get-login|get-login-password": "k", "ecr-public get-login-password": "k",
    "eks get-token": "k", "eks update-kubeconfig": "mk",
    "ec2-instance-connect ssh|open-tunnel": "kx",
    "configure list|list-profiles": "o", "configure get": "o", "configure get *secret*|*token*|*key*": "k", "configure set|import|sso|sso-session|mfa-login|wizard": "mk",
    "configure export-credentials": "k", "configure $": "mk", "configure add-model": "m",
    "sso login|logout": "k", "login|logout": "k",
    "cloudformation deploy": "cmdk", "cloudformation deploy --no-execute-changeset": "c", "cloudformation package": "cm",
    "ssm start-session": "x", "ecs execute-command": "x", "ecs deploy": "cmdx", "ecs monitor-express-gateway-service": "o",
    "logs tail": "o", "codeartifact login": "k", "rds generate-db-auth-token": "k",
    "dsql generate-db-connect-auth-token|generate-db-connect-admin-auth-token": "k",
    "dlm create-default-role": "ck", "datapipeline create-default-roles": "ck", "datapipeline list-runs": "o",
    "emr create-default-roles": "ck", "emr create-cluster": "cx", "emr add-steps": "cx", "emr ssh|socks": "x", "emr get": "o", "emr put": "cm",
    "emr add-instance-groups": "c", "emr describe-cluster": "o", "emr terminate-clusters": "d", "emr modify-cluster-attributes": "m",
    "emr install-applications": "cx", "emr restore-from-hbase-backup": "mdx", "emr create-hbase-backup|schedule-hbase-backup": "cx",
    "emr disable-hbase-backups": "md", "emr-containers update-role-trust-policy": "mk",
    "deploy push": "cm", "deploy register": "ck", "deploy deregister": "dk", "deploy install|uninstall": "mx",
    "opsworks register": "ckx", "opsworks-cm *-*": None, "history list|show": "o",
    "cloudtrail validate-logs|verify-query-results": "o", "cloudtrail create-subscription": "c", "cloudtrail update-subscription": "m",
    "cloudfront sign": "k", "codecommit credential-helper": "k", "configservice subscribe": "cm", "configservice get-status": "o",
    "ddb put": "cm", "ddb select": "o", "dynamodb wizard": "cm", "iam wizard": "ck", "lambda wizard": "ckx", "events wizard": "cm",
    "gamelift upload-build": "c", "gamelift get-game-session-log": "o", "servicecatalog generate": "c", "logs start-live-tail": "o",
    "cli-dev": "o", "agent-toolkit": None, "quickstart": None,
}
HOST = {"deploy install|uninstall"}  # these set up the CodeDeploy agent on this machine

S3_COPY = """s3 cp: s3 cp|sync = ocm
s3 cp|sync * s3://* = cm
s3 cp|sync s3://* * = h
s3 cp s3://* - = o
s3 cp|sync s3://* s3://* = cm
s3 cp|sync * s3://* --acl=public*|authenticated-read = cmp
s3 cp|sync s3://* s3://* --acl=public*|authenticated-read = cmp
s3 cp|sync * s3://* --grants = cmpk
s3 cp|sync s3://* s3://* --grants = cmpk
s3 sync --delete = ocmd
s3 sync * s3://* --delete = cmd
s3 sync s3://* s3://* --delete = cmd
s3 sync * s3://* --delete --acl=public*|authenticated-read = cmdp
s3 sync s3://* s3://* --delete --acl=public*|authenticated-read = cmdp
s3 sync * s3://* --delete --grants = cmdpk
s3 sync s3://* s3://* --delete --grants = cmdpk
s3 mv = ocmd
s3 mv * s3://* = cm
s3 mv s3://* * = od
s3 mv s3://* s3://* = cmd
s3 mv * s3://* --acl=public*|authenticated-read = cmp
s3 mv s3://* s3://* --acl=public*|authenticated-read = cmdp
s3 mv * s3://* --grants = cmpk
s3 mv s3://* s3://* --grants = cmdpk""".split(": ", 1)[1].splitlines()

# Rows beside the generated ones: an option turns the meaning.
EXTRA = """help = o
$ --version = o
* help $ = o
*|* *|* help $ = o
apigateway get-api-key|get-api-keys --include-value = k
apigateway get-api-key|get-api-keys --include-values = k
glue get-connection|get-connections --hide-password = o
ssm get-parameter|get-parameters|get-parameters-by-path|get-parameter-history --no-with-decryption = o
ec2 authorize-security-group-ingress|authorize-security-group-egress --cidr=0.0.0.0/0|::/0 = mp
ec2 authorize-security-group-ingress|authorize-security-group-egress --ip-permissions=*0.0.0.0/0*|*::/0* = mp
s3api put-object|copy-object|create-multipart-upload --acl=public*|authenticated-read = cmp
s3api create-bucket --acl=public*|authenticated-read = cp
s3 rm --dryrun = o""".splitlines()

VALUES = ["--endpoint-url", "--output", "--query", "--profile", "--region", "--color", "--ca-bundle", "--cli-read-timeout", "--cli-connect-timeout",
          "--cli-binary-format", "--cli-error-format", "--cidr", "--ip-permissions", "--acl", "--grants",
          "--include", "--exclude", "--sse", "--sse-c", "--sse-c-key", "--sse-kms-key-id", "--storage-class", "--content-type", "--cache-control",
          "--content-encoding", "--content-disposition", "--content-language", "--expires", "--expires-in", "--website-redirect", "--source-region",
          "--metadata-directive", "--metadata", "--copy-props", "--page-size", "--checksum-algorithm", "--checksum-mode", "--expected-size"]
FLAGS = ["--debug", "--no-verify-ssl", "--no-paginate", "--version", "--no-sign-request", "--v2-debug", "--no-cli-pager", "--cli-auto-prompt",
         "--no-cli-auto-prompt", "--dry-run", "--no-dry-run", "--dryrun", "--delete", "--recursive", "--quiet", "--only-show-errors", "--no-progress", "--force",
         "--follow-symlinks", "--no-follow-symlinks", "--no-guess-mime-type", "--size-only", "--exact-timestamps", "--force-glacier-transfer",
         "--ignore-glacier-warnings", "--include-value", "--include-values", "--hide-password", "--no-with-decryption",
         "--no-execute-changeset", "--human-readable", "--summarize"]

# First words of which a service's verbs of one meaning are written as `word-*`. New verbs of these words mean at least that; of all other
# words (get, put, start, batch ...) each verb stands by its name, so that a new one stays unknown.
GLOBBED = ["list", "describe", "delete", "update", "tag", "untag", "create", "associate", "disassociate", "modify", "register", "deregister"]

EXAMPLES = """
aws ec2 describe-instances | observe
aws --profile prod --region eu-central-1 ec2 terminate-instances --instance-ids i-0abc i-0def | destroy | profile=prod region=eu-central-1
aws ec2 terminate-instances --instance-ids i-0abc --dry-run | observe
aws ec2 terminate-instances --instance-ids i-0abc --dry-run --no-dry-run | destroy
aws ec2 delete-vpc --vpc-id vpc-1 --profile=ops | destroy | profile=ops
aws ec2 delete-vpc --vpc-id vpc-1 --dry-run | observe
aws ec2 delete-key-pair --key-name k | destroy credential
aws ec2 stop-instances --instance-ids i-1 | change destroy
aws ec2 reboot-instances --instance-ids i-1 | change
aws ec2 run-instances --image-id ami-1 --count 2 | create execute
aws ec2 run-instances --image-id ami-1 --dry-run | observe
aws ec2 create-key-pair --key-name deploy | create credential
aws ec2 get-password-data --instance-id i-1 | observe credential
aws ec2 get-console-output --instance-id i-1 | observe
aws ec2 modify-image-attribute --image-id ami-1 --launch-permission Add=[{Group=all}] | change publish credential
aws ec2 modify-snapshot-attribute --snapshot-id snap-1 --group-names all | change publish credential
aws ec2 authorize-security-group-ingress --group-id sg-1 --protocol tcp --port 22 --cidr 10.0.0.0/8 | change
aws ec2 authorize-security-group-ingress --group-id sg-1 --protocol tcp --port 22 --cidr 0.0.0.0/0 | change publish
aws ec2 wait instance-running --instance-ids i-1 | observe
aws ec2 frobnicate-instances | unknown
aws myplugin do-it | unknown
aws help | observe
aws --version | observe
aws ec2 help | observe
aws ec2 terminate-instances help | observe
aws s3 ls s3://bucket/path --recursive | observe
aws s3 cp dist/app.js s3://site/app.js | create change
aws s3 cp --recursive ./dist s3://site --acl public-read | create change publish
aws s3 cp s3://site/app.js ./app.js --profile prod | observe | profile=prod
aws s3 cp s3://a/k s3://b/k | create change
aws s3 sync ./dist s3://site | create change
aws s3 sync ./dist s3://site --delete | create change destroy
aws s3 sync --delete ./dist s3://site --dryrun | observe
aws s3 sync --delete --acl public-read ./dist s3://site | create change destroy publish
aws s3 sync s3://site ./copy --delete | observe
aws s3 mv s3://b/a ./a | observe destroy
aws s3 rm s3://bucket/prefix --recursive | destroy
aws s3 rm --recursive --dryrun s3://bucket/prefix | observe
aws s3 rb s3://bucket --force | destroy
aws s3 mb s3://bucket | create
aws s3 presign s3://bucket/key --expires-in 600 | credential
aws s3api get-object --bucket b --key k out.bin | observe
aws s3api put-bucket-policy --bucket b --policy file://p.json | change publish credential
aws s3api put-bucket-acl --bucket b --acl public-read | change publish credential
aws s3api put-object --bucket b --key k --body f | create change
aws s3api put-object --bucket b --key k --body f --acl public-read | create change publish
aws s3api delete-objects --bucket b --delete file://d.json | destroy
aws s3api delete-public-access-block --bucket b | destroy publish credential
aws secretsmanager get-secret-value --secret-id prod/db | credential
aws secretsmanager list-secrets | observe
aws secretsmanager delete-secret --secret-id prod/db --force-delete-without-recovery | destroy credential
aws ssm get-parameter --name /prod/key --with-decryption | credential
aws ssm get-parameters-by-path --path /prod | credential
aws ssm put-parameter --name /prod/key --value x --type SecureString | create change credential
aws ssm send-command --document-name AWS-RunShellScript --targets Key=tag:x,Values=y | create change destroy execute
aws ssm start-session --target i-0abc | execute
aws sts assume-role --role-arn arn:aws:iam::1:role/admin --role-session-name s | credential
aws sts get-session-token | credential
aws sts get-caller-identity | observe
aws iam create-access-key --user-name bob | create credential
aws iam attach-role-policy --role-name r --policy-arn arn:aws:iam::aws:policy/AdministratorAccess | change credential
aws iam delete-role --role-name r | destroy credential
aws iam list-users --output json | observe
aws iam get-role --role-name r | observe
aws kms decrypt --ciphertext-blob fileb://x | credential
aws kms generate-data-key --key-id k --key-spec AES_256 | credential
aws kms schedule-key-deletion --key-id k --pending-window-in-days 7 | change destroy credential
aws kms describe-key --key-id k | observe
aws ecr get-login-password --region eu-west-1 | credential | region=eu-west-1
aws ecr-public put-image --repository-name r --image-manifest m | create change publish
aws lambda invoke --function-name f out.json | execute
aws lambda get-function --function-name f | observe
aws lambda add-permission --function-name f --principal * --action lambda:InvokeFunction --statement-id s | change publish credential
aws ecs execute-command --cluster c --task t --interactive --command /bin/sh | execute
aws ecs run-task --cluster c --task-definition t | create execute
aws eks get-token --cluster-name c | credential
aws eks update-kubeconfig --name c | change credential
aws rds delete-db-instance --db-instance-identifier db --skip-final-snapshot | destroy
aws rds stop-db-instance --db-instance-identifier db | change destroy
aws rds generate-db-auth-token --hostname h --port 5432 --username u | credential
aws cloudformation deploy --template-file t.yaml --stack-name s | create change destroy credential
aws cloudformation delete-stack --stack-name s | destroy
aws cloudtrail stop-logging --name t | destroy
aws guardduty delete-detector --detector-id d | destroy
aws logs tail /aws/lambda/f --follow | observe
aws dynamodb scan --table-name t | observe
aws dynamodb delete-table --table-name t | destroy
aws sns publish --topic-arn t --message hi | change
aws sqs purge-queue --queue-url u | destroy
aws configure set region eu-central-1 | change credential
aws configure get aws_secret_access_key | credential
aws configure get region | observe
aws configure | change credential
aws sso login --profile prod | credential | profile=prod
AWS_PROFILE=prod AWS_DEFAULT_REGION=us-east-1 aws s3 ls | observe | profile=prod region=us-east-1
aws apigateway get-api-keys --include-values | credential
aws apigateway get-api-keys | observe
aws glue start-job-run --job-name j | create execute
aws stepfunctions start-execution --state-machine-arn a | create execute
aws deploy create-deployment --application-name a | create change destroy execute
aws configservice describe-config-rules | observe
aws --no-cli-pager --debug iam list-roles | observe
""".strip().splitlines()


UNDECIDED = []


def inventory():
    """CLI service name -> verb -> has a --dry-run option."""
    models = {}
    session = botocore.session.Session()
    for service in sorted(session.get_available_services()):
        model = session.get_service_model(service)
        for op in model.operation_names:
            models.setdefault(service, {})[xform_name(op, "-")] = dry(model.operation_model(op))
    import awscli
    from awscli.clidriver import create_clidriver

    verbs = {}
    driver = create_clidriver()
    table = driver._get_command_table()
    by_model = {}
    for name, command in sorted(table.items()):
        if type(command).__name__ in ("S3", "ConfigureCommand", "HistoryCommand"):
            continue
        service = getattr(command, "_service_name", None)
        if service and not getattr(command, "_UNDOCUMENTED", False):
            by_model[service] = name
        get = getattr(command, "_get_command_table", None)
        subs = get() if get else {}
        for verb, sub in (subs or command.subcommand_table).items():
            if verb == "wait":
                verbs.setdefault(name, {}).setdefault(verb, False)
            elif hasattr(sub, "_operation_model"):
                verbs.setdefault(name, {})[verb] = dry(sub._operation_model)
    for service, ops in models.items():
        for verb, has in ops.items():
            verbs.setdefault(by_model.get(service, service), {}).setdefault(verb, has)
    verbs[""] = {awscli.__version__: False}
    return verbs


def dry(operation):
    shape = operation.input_shape
    return bool(shape) and any(n.lower() == "dryrun" and m.type_name == "boolean" for n, m in shape.members.items())


def parse_rules():
    out = []
    for line in RULES:
        if line.startswith("#"):
            continue
        service, verbs, effects = line.split()
        out.append((service, verbs.split("|"), effects))
    return out


def effects_of(service, verb, rules, used):
    if verb == "wait":
        return frozenset("o")
    first = verb.split("-")[0]
    if first in ("batch", "bulk"):
        got = None
    elif first == "admin":
        got = set(FIRST.get(verb.split("-")[1], "m"))
    elif first not in FIRST:
        print(f"{service} {verb}: the first word `{first}` is not decided", file=sys.stderr)
        UNDECIDED.append(verb)
        return frozenset("o")
    else:
        got = set(FIRST[first])
    for i, (s, patterns, effects) in enumerate(rules):
        if s == "@identity":
            if service in IDENTITY and got and got != {"o"}:
                got.add("k")
            continue
        if not fnmatchcase(service, s):
            continue
        if patterns == ["!observe~secret"]:
            if got and got != {"o"} and SECRET_WORD.search(verb) and not SECRET_NOT.search(verb):
                got.add("k")
            continue
        if not any(fnmatchcase(verb, p) for p in patterns):
            continue
        used.add(i)
        if effects.startswith("!observe+"):
            if got != {"o"}:
                got |= set(effects[9:])
        elif effects == "=":
            pass
        elif effects[0] == "+":
            got = (got or set()) | set(effects[1:])
        elif effects[0] == "-":
            got = got - set(effects[1:])
        else:
            got = set(effects)
    if not got:
        print(f"{service} {verb}: not decided", file=sys.stderr)
        UNDECIDED.append(verb)
        return frozenset("o")
    return frozenset(got)


def rank(term):
    return 0 if "*" in term else 1


def main():
    rules, used = parse_rules(), set()
    verbs = inventory()
    (version,) = verbs.pop("")
    rows = {e: [] for e in ORDER}

    def add(letters, pattern):
        for letter in letters:
            rows[LETTERS[letter]].append(pattern)

    for line in EXTRA + S3_COPY:
        pattern, _, letters = line.rpartition(" = ")
        add(letters, pattern)
        if pattern.startswith("s3 ") and "--dryrun" not in pattern:
            add("o", pattern + " --dryrun")
    hosts = []
    customs = {}
    for path, letters in CUSTOM.items():
        if letters is None:
            continue
        add(letters, path)
        if path in HOST:
            hosts.append(path)
        service, _, rest = path.partition(" ")
        if rest:
            for verb in rest.split(" ")[0].split("|"):
                customs.setdefault(service, set()).add(verb)
    count = 0
    for service in sorted(verbs):
        what = {}
        for verb in sorted(verbs[service]):
            if verb in customs.get(service, ()):
                continue
            what[verb] = effects_of(service, verb, rules, used)
        count += len(what)
        terms = {}  # (effects, globbed) -> terms
        rest = dict(what)
        for word in GLOBBED:
            of_word = [v for v in what if v.startswith(word + "-")]
            sets = {}
            for v in of_word:
                sets.setdefault(what[v], []).append(v)
            if not sets:
                continue
            best, members = max(sorted(sets.items(), key=lambda x: sorted(x[0])), key=lambda x: len(x[1]))
            if len(members) < 2 or (word in ("list", "describe")) != (best == frozenset("o")):
                continue
            terms.setdefault((best, True), []).append(word + "-*")
            for v in members:
                del rest[v]
        for v, e in rest.items():
            terms.setdefault((e, False), []).append(v)
        # One line for each effect: a row counts for each effect that its verbs have.
        for glob in (True, False):
            by_effect = {}
            for (e, g), ts in terms.items():
                if g == glob:
                    for letter in e:
                        by_effect.setdefault(letter, []).extend(ts)
            for letter in sorted(by_effect, key=lambda x: ORDER.index(LETTERS[x])):
                rows[LETTERS[letter]].append(service + " " + "|".join(sorted(by_effect[letter])))
            dryable = sorted(t for (e, g), ts in terms.items() if g == glob and e != frozenset("o") for t in ts
                             if (any(verbs[service][v] for v in what if fnmatchcase(v, t)) if g else verbs[service][t]))
            if dryable:
                rows["observe"].append(service + " " + "|".join(dryable) + " --dry-run !--no-dry-run")
        check(service, what, rows, customs)
    never = [f"{s} {'|'.join(p)}" for i, (s, p, _) in enumerate(rules) if i not in used and s not in ("@identity",) and p != ["!observe~secret"]]
    if never:
        print("rules that fit no verb:", *never, sep="\n  ", file=sys.stderr)
    if UNDECIDED:
        raise SystemExit(1)
    print(f"{len(verbs)} services, {count} verbs", file=sys.stderr)
    write(rows, hosts, version)


def check(service, what, rows, customs):
    """The rows written must give back what was decided, for each verb."""
    mine = {e: [r.split() for r in rs if r.startswith(service + " ") and "--" not in r] for e, rs in rows.items()}
    for verb, want in what.items():
        best, got = -1, set()
        for e, rs in mine.items():
            for t in rs:
                if len(t) == 2 and any(fnmatchcase(verb, a) for a in t[1].split("|")):
                    r = rank(t[1])
                    if r > best:
                        best, got = r, set()
                    if r == best:
                        got.add(e)
        if got != {LETTERS[x] for x in want}:
            raise SystemExit(f"{service} {verb}: wanted {sorted(want)}, the rows give {sorted(got)}")


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write(rows, hosts, version):
    out = ['name = "aws"', "aliases = []", 'system = "aws"',
           f'source = "awscli {version} and botocore {BOTOCORE}, their own models; verbs that version 2 alone has by hand"',
           'script = "grammar/tools/aws.py"', "",
           "values = [" + ", ".join(map(quote, VALUES)) + "]", "optional = []", "flags = [" + ", ".join(map(quote, FLAGS)) + "]", "",
           "[scope]", 'profile = ["--profile", "$AWS_PROFILE", "$AWS_DEFAULT_PROFILE"]',
           'region = ["--region", "$AWS_REGION", "$AWS_DEFAULT_REGION"]', "", "[verbs]"]
    rows["host"] = hosts
    for e in ORDER + ["host"]:
        out.append(f"{e} = [")
        out += ["  " + quote(r) + "," for r in rows[e]]
        out.append("]")
    for line in EXAMPLES + HOST_EXAMPLES:
        command, effects, *scope = [x.strip() for x in line.split(" | ")]
        out += ["", "[[example]]", "command = " + quote(command), "effects = [" + ", ".join(map(quote, effects.split())) + "]"]
        if scope:
            out.append("scope = { " + ", ".join(k + " = " + quote(v) for k, v in (x.split("=") for x in scope[0].split())) + " }")
    print("\n".join(out))


HOST_EXAMPLES = ["aws deploy install --config-file f | change execute host", "aws deploy uninstall | change execute host",
                 "aws --region eu-west-1 deploy install --config-file f --override-config | change execute host"]

if __name__ == "__main__":
    main()
