"""The policy by tables: each line is a call and the rule that decides it; refusals beside the call that passes."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy import Call, Policy
from tests.gateway.policy.build import CONTEXT, call, context, deployment, rows

ALL = ["read", "write", "execute"]

GRANTS = deployment(
    upstreams={
        "tickets": {"get_*": "read", "list_*": "read", "delete_*": "write", "get_secret": "execute"},
        "files": {"read_*": "read", "resource:file:///private/*": "write", "prompt:run_*": "execute"},
        "shell": {},
    },
    roles={
        "reader": {"allow_resources": ["tickets/get_*", "tickets/list_*"], "allow_methods": ["read"]},
        "deleter": {"allow_resources": ["tickets/delete_*"], "allow_methods": ["write"]},
        "auditor": {"allow_resources": ["*/*"], "allow_methods": ["read"]},
        "no-methods": {"allow_resources": ["tickets/*"]},
        "no-resources": {"allow_methods": ALL},
    },
    clients={
        "reader": {"roles": ["reader"]},
        "both": {"roles": ["reader", "deleter"]},
        "auditor": {"roles": ["auditor"]},
        "auditor-deleter": {"roles": ["auditor", "deleter"]},
        "own": {"roles": ["reader"], "allow_resources": ["files/read_text"], "allow_methods": ["read"]},
        "own-write": {"roles": ["auditor"], "allow_resources": ["tickets/delete_old"], "allow_methods": ["write"]},
        "halves": {"roles": ["no-methods", "no-resources"]},
        "half": {"roles": ["reader"], "allow_resources": ["shell/run"]},
        "nothing": {},
        "admin": {"allow_resources": ["*/*"], "allow_methods": ALL},
        "shell": {"allow_resources": ["shell/*"], "allow_methods": ["execute"]},
        "writer-only": {"allow_resources": ["tickets/*"], "allow_methods": ["write"]},
        "resources": {"allow_resources": ["files/resource:file:///public/*"], "allow_methods": ALL},
        "one-resource": {"allow_resources": ["files/resource:file:///a.txt"], "allow_methods": ["read"]},
        "prompts": {"allow_resources": ["files/prompt:*"], "allow_methods": ["read"]},
        "tools": {"allow_resources": ["files/read_*"], "allow_methods": ALL},
        "anywhere": {"allow_resources": ["*/get_*"], "allow_methods": ALL},
        "prefix": {"allow_resources": ["t*s/get_*_x"], "allow_methods": ALL},
    },
)

GRANT_ROWS = rows("""
# roles and their classes
reader | tickets/get_ticket | {} | granted
reader | tickets/get_ticket | - | granted
reader | tickets/list_all | {} | granted
reader | tickets/get_ | {} | granted
reader | tickets/get_secret | {} | method-class-not-granted
reader | tickets/delete_old | {} | resource-not-granted
reader | tickets/get | {} | resource-not-granted
reader | tickets/Get_ticket | {} | resource-not-granted
reader | tickets/xget_ticket | {} | resource-not-granted
reader | files/get_ticket | {} | resource-not-granted
reader | Tickets/get_ticket | {} | unknown-upstream
reader | nowhere/get_ticket | {} | unknown-upstream
reader | tickets/resource:get_x | {} | resource-not-granted
reader | tickets/prompt:get_x | {} | resource-not-granted
both | tickets/get_ticket | {} | granted
both | tickets/delete_old | {} | granted
both | tickets/get_secret | {} | method-class-not-granted
both | tickets/create | {} | resource-not-granted
# a glob over everything is still bound to its classes
auditor | tickets/get_ticket | {} | granted
auditor | tickets/delete_old | {} | method-class-not-granted
auditor | tickets/unclassified | {} | method-class-not-granted
auditor | shell/run | {} | method-class-not-granted
auditor | files/read_text | {} | granted
auditor | files/resource:file:///a | {} | granted
auditor | files/resource:file:///private/a | {} | method-class-not-granted
auditor | files/prompt:hello | {} | granted
auditor | files/prompt:run_it | {} | method-class-not-granted
# entries add up but don't mix
auditor-deleter | tickets/delete_old | {} | granted
auditor-deleter | tickets/get_ticket | {} | granted
auditor-deleter | files/resource:file:///private/a | {} | method-class-not-granted
auditor-deleter | tickets/create | {} | method-class-not-granted
own | tickets/get_ticket | {} | granted
own | files/read_text | {} | granted
own | files/read_more | {} | resource-not-granted
own-write | tickets/delete_old | {} | granted
own-write | tickets/delete_new | {} | method-class-not-granted
own-write | tickets/get_ticket | {} | granted
halves | tickets/get_ticket | {} | method-class-not-granted
halves | shell/run | {} | resource-not-granted
half | tickets/get_ticket | {} | granted
half | shell/run | {} | method-class-not-granted
nothing | tickets/get_ticket | {} | resource-not-granted
nothing | files/resource:file:///a | - | resource-not-granted
# everything
admin | tickets/get_secret | {} | granted
admin | shell/anything | {} | granted
admin | shell/resource:x:y | - | granted
admin | shell/prompt:x | - | granted
admin | files/resource:file:///private/../a | - | name-not-acceptable
admin | files/resource:file:///private/..a | - | granted
admin | files/.. | {} | name-not-acceptable
admin | files/resource:file:///private/．．/a | - | name-not-acceptable
shell | shell/run | {} | granted
shell | shell/resource:x:y | - | method-class-not-granted
shell | shell/prompt:x | - | method-class-not-granted
shell | tickets/get_ticket | {} | resource-not-granted
# classes don't include each other
writer-only | tickets/delete_old | {} | granted
writer-only | tickets/get_ticket | {} | method-class-not-granted
writer-only | tickets/create | {} | method-class-not-granted
# clients that aren't there
stranger | tickets/get_ticket | {} | unknown-client
Reader | tickets/get_ticket | {} | unknown-client
stranger | nowhere/method:ping | - | unknown-client
# resources
resources | files/resource:file:///public/a.txt | - | granted
resources | files/resource:file:///public/ | - | granted
resources | files/resource:file:///public/sub/a.txt | - | granted
resources | files/resource:file:///public/a..b | - | granted
resources | files/resource:file:///public/.hidden | - | granted
resources | files/resource:file:///public | - | resource-not-granted
resources | files/resource:file:///PUBLIC/a | - | resource-not-granted
resources | files/resource:file:///public%2Fa | - | resource-not-granted
resources | files/resource:file:///private/a | - | resource-not-granted
resources | files/resource:file:///public/../private/a | - | name-not-acceptable
resources | files/resource:file:///public/.. | - | name-not-acceptable
resources | files/resource:file:///public/./a | - | name-not-acceptable
resources | files/resource:file:///public/%2e%2e/private/a | - | name-not-acceptable
resources | files/resource:file:///public/.%2E/private/a | - | name-not-acceptable
resources | files/resource:file:///public/%252e%252e/private/a | - | name-not-acceptable
resources | files/resource:file:///public/..%2fprivate/a | - | name-not-acceptable
resources | files/resource:file:///public/..%5Cprivate/a | - | name-not-acceptable
resources | files/resource:file:///public/..\\private/a | - | name-not-acceptable
resources | files/resource:file:///public/..;x/a | - | name-not-acceptable
resources | files/resource:file:///public/..?x | - | name-not-acceptable
resources | files/resource:file:///public/..#x | - | name-not-acceptable
resources | files/resource:file:///public/..%00 | - | name-not-acceptable
resources | files/resource:file:///public/.. /a | - | name-not-acceptable
resources | files/resource:file:///public/..%20/a | - | name-not-acceptable
resources | files/resource:file:///public/.../a | - | name-not-acceptable
resources | files/resource:file:///public/a%20b | - | granted
resources | files/resource:file:///public/100%25 | - | granted
resources | files/resource:file:///public/a?x=.. | - | granted
resources | files/resource:FILE:///public/a | - | resource-not-granted
resources | files/file:///public/a | {} | resource-not-granted
one-resource | files/resource:file:///a.txt | - | granted
one-resource | files/resource:file:///a.txt/ | - | resource-not-granted
one-resource | files/resource:file:///a.txt?x | - | resource-not-granted
one-resource | files/resource:file:///a%2etxt | - | resource-not-granted
one-resource | files/resource: | - | name-not-acceptable
# prompts and tools keep apart
prompts | files/prompt:hello | {} | granted
prompts | files/prompt:run_it | {} | method-class-not-granted
prompts | files/hello | {} | resource-not-granted
prompts | files/resource:prompt:hello | - | resource-not-granted
tools | files/read_text | {} | granted
tools | files/resource:read_text | - | resource-not-granted
tools | files/prompt:read_text | - | resource-not-granted
tools | files/write_text | {} | resource-not-granted
# globs over upstreams
anywhere | tickets/get_x | {} | granted
anywhere | shell/get_x | {} | granted
anywhere | shell/resource:get_x | - | resource-not-granted
anywhere | shell/xget_x | {} | resource-not-granted
prefix | tickets/get_a_x | {} | granted
prefix | tickets/get__x | {} | granted
prefix | tickets/get_x | {} | resource-not-granted
prefix | files/get_a_x | {} | resource-not-granted
# methods of the protocol
nothing | tickets/method:initialize | - | lifecycle
nothing | tickets/method:ping | - | lifecycle
nothing | tickets/method:server/discover | - | lifecycle
nothing | tickets/method:tools/list | - | lifecycle
nothing | tickets/method:prompts/list | - | lifecycle
nothing | tickets/method:resources/list | - | lifecycle
nothing | tickets/method:resources/templates/list | - | lifecycle
nothing | tickets/method:logging/setLevel | - | lifecycle
nothing | tickets/method:subscriptions/listen | - | lifecycle
nothing | tickets/method:notifications/initialized | - | lifecycle
nothing | tickets/method:notifications/cancelled | - | lifecycle
nothing | tickets/method:notifications/x/y | - | lifecycle
admin | tickets/method:tasks/list | - | lifecycle
admin | tickets/method:tasks/cancel | - | method-not-listed
admin | tickets/method:tasks/get | - | method-not-listed
admin | tickets/method:tools/call | - | method-not-listed
admin | tickets/method:Ping | - | method-not-listed
admin | tickets/method:ping/x | - | method-not-listed
admin | tickets/method:notifications | - | method-not-listed
admin | tickets/method:sampling/createMessage | - | method-not-listed
# completions
prompts | files/complete:prompt:hello | {} | granted
prompts | files/complete:prompt:run_it | {} | method-class-not-granted
prompts | files/complete:resource:file:///{path} | {} | resource-not-granted
prompts | files/complete:hello | {} | name-not-acceptable
resources | files/complete:resource:file:///public/{path} | {} | granted
resources | files/complete:resource:file:///{path} | {} | resource-not-granted
resources | files/complete:prompt:hello | {} | resource-not-granted
admin | files/complete:read_text | {} | name-not-acceptable
nothing | files/complete:prompt:hello | {} | resource-not-granted
""")

ACCESS = deployment(
    upstreams={
        "order": {"*": "execute", "get_*": "read", "get_all_*": "write", "get_all_x": "read"},
        "reversed": {"get_all_x": "read", "get_all_*": "write", "get_*": "read", "*": "execute"},
        "tie": {"get_*": "read", "*_old": "write", "a*b": "write", "*ab": "read", "x_*": "write", "*_y": "execute"},
        "open": {"*": "read"},
        "things": {"resource:*": "write", "prompt:*": "execute", "file": "read", "resource:x:*": "read"},
        "stars": {"get_***": "read", "get_*": "write"},
    },
    clients={name: {"allow_resources": ["*/*"], "allow_methods": [name]} for name in ALL},
)

ACCESS_ROWS = rows("""
# the most specific glob decides, wherever it stands
read | order/get_one | {} | granted
write | order/get_one | {} | method-class-not-granted
execute | order/other | {} | granted
read | order/other | {} | method-class-not-granted
write | order/get_all_y | {} | granted
read | order/get_all_y | {} | method-class-not-granted
read | order/get_all_x | {} | granted
write | order/get_all_x | {} | method-class-not-granted
read | reversed/get_one | {} | granted
execute | reversed/other | {} | granted
write | reversed/get_all_y | {} | granted
read | reversed/get_all_x | {} | granted
execute | reversed/get_all_x | {} | method-class-not-granted
# as many characters: the stricter class
read | tie/get_new | {} | granted
write | tie/get_old | {} | granted
read | tie/get_old | {} | method-class-not-granted
write | tie/ab | {} | granted
read | tie/ab | {} | method-class-not-granted
read | tie/xab | {} | granted
execute | tie/x_y | {} | granted
write | tie/x_y | {} | method-class-not-granted
write | tie/x_z | {} | granted
execute | tie/none | {} | granted
# one glob for everything covers resources and prompts
read | open/anything | {} | granted
read | open/resource:a:b | - | granted
read | open/prompt:p | - | granted
execute | open/anything | {} | method-class-not-granted
# resources and prompts are read unless classified
write | things/resource:a:b | - | granted
read | things/resource:a:b | - | method-class-not-granted
read | things/resource:x:b | - | granted
execute | things/prompt:p | - | granted
read | things/prompt:p | - | method-class-not-granted
read | things/file | {} | granted
execute | things/files | {} | granted
read | tie/resource:a:b | - | granted
read | tie/prompt:p | - | granted
execute | tie/prompt:p | - | method-class-not-granted
# several stars are one, so these two tie
write | stars/get_x | {} | granted
""")

FILTERS = deployment(
    upstreams={"t": {"*": "read"}},
    roles={
        "web": {
            "allow_resources": ["t/get"],
            "allow_methods": ["read"],
            "resource_filters": {"t/get": {"project": ["WEB", "API"]}},
        },
        "api": {"resource_filters": {"t/get": {"project": ["API", "OPS"]}}},
        "all": {"allow_resources": ["t/*"], "allow_methods": ["read"]},
    },
    clients={
        "web": {"roles": ["web"]},
        "narrowed": {"roles": ["web"], "resource_filters": {"t/g*": {"project": ["API", "X"]}}},
        "two-roles": {"roles": ["web", "api"]},
        "other-grant": {"roles": ["web", "all"]},
        "path": {"roles": ["all"], "resource_filters": {"t/read": {"path": ["/data/*", "/etc/hosts"]}}},
        "deep": {"roles": ["all"], "resource_filters": {"t/deep": {"options.target.name": ["a*"]}}},
        "many": {"roles": ["all"], "resource_filters": {"t/m": {"a": ["1"], "b": ["2*"]}, "t/*": {"c": ["*"]}}},
        "range": {
            "roles": ["all"],
            "resource_filters": {
                "t/pay": {"amount": {"min": 0, "max": 500}},
                "t/low": {"n": {"min": 3}},
                "t/high": {"n": {"max": 2.5}},
            },
        },
        "regex": {
            "roles": ["all"],
            "resource_filters": {
                "t/key": {"key": {"regex": "[A-Z]+-[0-9]+"}},
                "t/num": {"n": {"regex": "[0-9]"}},
                "t/dot": {"s": {"regex": "a.b"}},
            },
        },
        "texts": {
            "roles": ["all"],
            "resource_filters": {"t/v": {"v": ["true", "5", "1.5", "null", "caf\u00e9", "a[b]?", "*x*"]}},
        },
        "locked": {"roles": ["all"], "resource_filters": {"t/*": {"project": ["WEB"]}}},
        "none": {"roles": ["all"], "resource_filters": {"t/none": {"project": []}}},
    },
)

FILTER_ROWS = rows("""
# values
web | t/get | {"project":"WEB"} | granted
web | t/get | {"project":"API"} | granted
web | t/get | {"project":"WEB","other":1} | granted
web | t/get | {"project":"OPS"} | argument-not-allowed
web | t/get | {"project":"web"} | argument-not-allowed
web | t/get | {"project":" WEB"} | argument-not-allowed
web | t/get | {"project":"WEB\\u0000"} | argument-not-allowed
web | t/get | {"project":"WEB\\n"} | argument-not-allowed
web | t/get | {"project":"WEBAPI"} | argument-not-allowed
web | t/get | {"project":"WEB,API"} | argument-not-allowed
web | t/get | {"project":""} | argument-not-allowed
web | t/get | {"project":"\\uff37\\uff25\\uff22"} | argument-not-allowed
# missing, null and not a scalar
web | t/get | {} | argument-not-allowed
web | t/get | - | argument-not-allowed
web | t/get | {"project":null} | argument-not-allowed
web | t/get | {"project":{"x":"WEB"}} | argument-not-allowed
web | t/get | {"project":{}} | argument-not-allowed
web | t/get | {"nested":{"project":"WEB"}} | argument-not-allowed
# lists
web | t/get | {"project":["WEB"]} | granted
web | t/get | {"project":["WEB","API","WEB"]} | granted
web | t/get | {"project":["WEB","OPS"]} | argument-not-allowed
web | t/get | {"project":["OPS","WEB"]} | argument-not-allowed
web | t/get | {"project":[]} | argument-not-allowed
web | t/get | {"project":[["WEB"]]} | argument-not-allowed
web | t/get | {"project":["WEB",null]} | argument-not-allowed
web | t/get | {"project":["WEB",{"a":1}]} | argument-not-allowed
web | t/get | [{"project":"WEB"}] | granted
# names that a server might take for the filtered one
web | t/get | {"project":"WEB","Project":"OPS"} | argument-not-allowed
web | t/get | {"project":"WEB","PROJECT":"WEB"} | argument-not-allowed
web | t/get | {"project":"WEB","pro\\uff4aect":"OPS"} | argument-not-allowed
web | t/get | {"project":"WEB","projects":"OPS"} | granted
web | t/get | {"Project":"WEB"} | argument-not-allowed
web | t/get | {"project ":"WEB"} | argument-not-allowed
# every filter must hold, whoever granted the use
narrowed | t/get | {"project":"API"} | granted
narrowed | t/get | {"project":"WEB"} | argument-not-allowed
narrowed | t/get | {"project":"X"} | argument-not-allowed
two-roles | t/get | {"project":"API"} | granted
two-roles | t/get | {"project":"WEB"} | argument-not-allowed
two-roles | t/get | {"project":"OPS"} | argument-not-allowed
other-grant | t/get | {"project":"WEB"} | granted
other-grant | t/get | {"project":"OPS"} | argument-not-allowed
other-grant | t/put | {"project":"OPS"} | granted
# paths
path | t/read | {"path":"/data/a"} | granted
path | t/read | {"path":"/data/a/b.txt"} | granted
path | t/read | {"path":"/etc/hosts"} | granted
path | t/read | {"path":"/data/"} | granted
path | t/read | {"path":"/data/..a"} | granted
path | t/read | {"path":"/data"} | argument-not-allowed
path | t/read | {"path":"/data/../etc/passwd"} | argument-not-allowed
path | t/read | {"path":"/data/.."} | argument-not-allowed
path | t/read | {"path":"/data/./a"} | argument-not-allowed
path | t/read | {"path":"/data/%2e%2e/etc/passwd"} | argument-not-allowed
path | t/read | {"path":"/data/%2E./etc/passwd"} | argument-not-allowed
path | t/read | {"path":"/data/%25252e./etc/passwd"} | argument-not-allowed
path | t/read | {"path":"/data/..\\\\..\\\\etc"} | argument-not-allowed
path | t/read | {"path":"/data/..\\u0000"} | argument-not-allowed
path | t/read | {"path":"/data/..\\n"} | argument-not-allowed
path | t/read | {"path":"/etc/hosts/../passwd"} | argument-not-allowed
path | t/read | {"path":"/Data/a"} | argument-not-allowed
path | t/read | {"path":["/data/a","/etc/passwd"]} | argument-not-allowed
path | t/read | {"path":"/data/a","Path":"/etc/passwd"} | argument-not-allowed
path | t/write | {"path":"/etc/passwd"} | granted
# nested
deep | t/deep | {"options":{"target":{"name":"abc"}}} | granted
deep | t/deep | {"options":{"target":{"name":"xbc"}}} | argument-not-allowed
deep | t/deep | {"options":{"target":{}}} | argument-not-allowed
deep | t/deep | {"options":{"target":"abc"}} | argument-not-allowed
deep | t/deep | {"options":"abc"} | argument-not-allowed
deep | t/deep | {"options.target.name":"abc"} | argument-not-allowed
deep | t/deep | {"options":{"target.name":"abc"}} | argument-not-allowed
deep | t/deep | {"name":"abc"} | argument-not-allowed
deep | t/deep | {"options":[{"target":{"name":"abc"}},{"target":[{"name":"a"},{"name":["ab"]}]}]} | granted
deep | t/deep | {"options":[{"target":{"name":"abc"}},{"target":{"name":"x"}}]} | argument-not-allowed
deep | t/deep | {"options":[{"target":{"name":"abc"}},{}]} | argument-not-allowed
deep | t/deep | {"options":[]} | argument-not-allowed
deep | t/deep | {"options":{"target":{"name":"abc"},"Target":{"name":"x"}}} | argument-not-allowed
deep | t/deep | {"options":{"target":{"name":"abc","NAME":"x"}}} | argument-not-allowed
deep | t/deep | {"options":{"target":{"name":"abc"}},"OPTIONS":1} | argument-not-allowed
deep | t/deep | {"options":{"target":{"name":"abc"},"extra":1}} | granted
# several arguments and several filters
many | t/m | {"a":"1","b":"23","c":0} | granted
many | t/m | {"a":1,"b":2,"c":false} | granted
many | t/m | {"a":"1","b":"3","c":0} | argument-not-allowed
many | t/m | {"a":"1","b":"2"} | argument-not-allowed
many | t/m | {"b":"2","c":0} | argument-not-allowed
many | t/x | {"c":"anything/../at all"} | granted
many | t/x | {"c":{}} | argument-not-allowed
many | t/x | {} | argument-not-allowed
# ranges
range | t/pay | {"amount":0} | granted
range | t/pay | {"amount":500} | granted
range | t/pay | {"amount":499.99} | granted
range | t/pay | {"amount":-0.0} | granted
range | t/pay | {"amount":500.01} | argument-not-allowed
range | t/pay | {"amount":501} | argument-not-allowed
range | t/pay | {"amount":-1} | argument-not-allowed
range | t/pay | {"amount":"5"} | argument-not-allowed
range | t/pay | {"amount":true} | argument-not-allowed
range | t/pay | {"amount":null} | argument-not-allowed
range | t/pay | {"amount":[1,2]} | granted
range | t/pay | {"amount":[1,501]} | argument-not-allowed
range | t/pay | {"amount":18446744073709551615} | argument-not-allowed
range | t/low | {"n":3} | granted
range | t/low | {"n":1e300} | granted
range | t/low | {"n":2} | argument-not-allowed
range | t/high | {"n":2.5} | granted
range | t/high | {"n":-9223372036854775808} | granted
range | t/high | {"n":2.6} | argument-not-allowed
# regular expressions
regex | t/key | {"key":"WEB-12"} | granted
regex | t/key | {"key":"WEB-"} | argument-not-allowed
regex | t/key | {"key":"xWEB-12"} | argument-not-allowed
regex | t/key | {"key":"WEB-12\\n"} | argument-not-allowed
regex | t/key | {"key":"WEB-12\\nX-1"} | argument-not-allowed
regex | t/key | {"key":"WEB-\\u0661"} | argument-not-allowed
regex | t/key | {"key":["WEB-1","A-2"]} | granted
regex | t/key | {"key":["WEB-1","A-"]} | argument-not-allowed
regex | t/num | {"n":7} | granted
regex | t/num | {"n":77} | argument-not-allowed
regex | t/num | {"n":7.0} | argument-not-allowed
regex | t/dot | {"s":"a\\nb"} | granted
regex | t/dot | {"s":"a\\u00e9b"} | granted
# the text of numbers and booleans; characters that mean nothing in a glob
texts | t/v | {"v":true} | granted
texts | t/v | {"v":"true"} | granted
texts | t/v | {"v":false} | argument-not-allowed
texts | t/v | {"v":5} | granted
texts | t/v | {"v":5.0} | argument-not-allowed
texts | t/v | {"v":1.5} | granted
texts | t/v | {"v":1.50} | granted
texts | t/v | {"v":null} | argument-not-allowed
texts | t/v | {"v":"null"} | granted
texts | t/v | {"v":"caf\\u00e9"} | granted
texts | t/v | {"v":"cafe\\u0301"} | argument-not-allowed
texts | t/v | {"v":"a[b]?"} | granted
texts | t/v | {"v":"ab?"} | argument-not-allowed
texts | t/v | {"v":"abc"} | argument-not-allowed
texts | t/v | {"v":"x"} | granted
texts | t/v | {"v":"axb"} | granted
texts | t/v | {"v":"a/../x"} | argument-not-allowed
# a filter over everything locks what has no such argument
locked | t/get | {"project":"WEB"} | granted
locked | t/resource:a:b | - | argument-not-allowed
locked | t/prompt:p | {"project":"WEB"} | granted
locked | t/prompt:p | {} | argument-not-allowed
locked | t/complete:prompt:p | {"project":"WEB"} | completion-filtered
locked | t/method:tools/list | - | lifecycle
web | t/complete:prompt:p | {} | resource-not-granted
path | t/complete:prompt:p | {} | granted
none | t/none | {"project":"WEB"} | argument-not-allowed
none | t/none | {"project":""} | argument-not-allowed
""")


def check(table: Any, client: str, what: str, arguments: Any, rule: str) -> None:
    policy = Policy(table)
    wanted = call(what, arguments)
    for _ in range(2):  # the second time from what was remembered
        decision = policy.decide(client, wanted, CONTEXT)
        assert (decision.rule, decision.allowed) == (rule, rule in ("granted", "lifecycle"))
        assert decision.steps == ()
    explained = policy.decide(client, wanted, CONTEXT, explain=True)
    assert (explained.rule, explained.allowed, explained.method_class) == (
        decision.rule,
        decision.allowed,
        decision.method_class,
    )
    assert explained.steps[-1].passed is decision.allowed
    assert rule in explained.steps[-1].text


@pytest.mark.parametrize(("client", "what", "arguments", "rule"), GRANT_ROWS)
def test_grants(client: str, what: str, arguments: Any, rule: str) -> None:
    check(GRANTS, client, what, arguments, rule)


@pytest.mark.parametrize(("client", "what", "arguments", "rule"), ACCESS_ROWS)
def test_method_classes(client: str, what: str, arguments: Any, rule: str) -> None:
    check(ACCESS, client, what, arguments, rule)


@pytest.mark.parametrize(("client", "what", "arguments", "rule"), FILTER_ROWS)
def test_argument_filters(client: str, what: str, arguments: Any, rule: str) -> None:
    check(FILTERS, client, what, arguments, rule)


# --- context rules ---

PRINT = "ab" * 32
RULES = deployment(
    upstreams={"t": {"*": "read"}},
    clients={
        "c": {"allow_resources": ["t/*"], "allow_methods": ["read"], "resource_filters": {"t/filtered": {"a": ["1"]}}}
    },
    rules=[
        {"resources": ["t/cert"], "certificate_sha256": [PRINT, ":".join(["CD"] * 32)]},
        {"resources": ["t/net"], "networks": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]},
        {"resources": ["t/win*"], "window": "Mon 09:00-17:00 Europe/Berlin"},
        {
            "resources": ["t/all", "t/also"],
            "certificate_sha256": [PRINT],
            "networks": ["10.0.0.0/8"],
            "window": "daily 00:00-12:00 UTC",
        },
        {"resources": ["t/two"], "networks": ["10.0.0.0/8"]},
        {"resources": ["t/tw*"], "networks": ["10.1.0.0/16"]},
        {"resources": ["t/filtered", "t/prompt:*"], "networks": ["10.0.0.0/8"]},
        {"resources": ["t/nothing"]},
        {
            "resources": ["t/resource:db://host/secret", "t/resource:file:///s/*", "t/prompt:kept"],
            "certificate_sha256": [PRINT],
        },
    ],
)

SPELLINGS = [
    *("db://host/secret", "DB://HOST/secret", "db://host/Secret", "db://host/%73ecret", "db://host/%2573ecret"),
    *("db://host//secret", "db:///host/secret", "db:\\\\host\\secret", "db://host%2Fsecret", "db://host/secret/"),
    *("db://host/secret?x=1", "db://host/secret#x", "db://host/secret/?x", "db://host/secret%3Fx", "db://host/secret "),
    *(
        "db://host/\uff53ecret",
        "db://host/\u017fecret",
        "file:///s/a",
        "file:////s/a",
        "file:///%53/a",
        "file:///s%2fa",
    ),
]
RULE_CASES: list[tuple[str, dict[str, Any], str]] = [
    *((f"t/resource:{uri}", {"address": "10.0.0.1"}, "context-certificate") for uri in SPELLINGS),
    *((f"t/resource:{uri}", {"certificate_sha256": PRINT}, "granted") for uri in SPELLINGS),
    *((f"t/resource:{uri}", {}, "granted") for uri in ("db://host/secrets", "db://host/secre", "db://other/secret")),
    *((f"t/resource:{uri}", {}, "granted") for uri in ("file:///t/s/a", "file:///sa", "db://host/x?secret")),
    *(
        (f"t/prompt:{name}", {"address": "10.0.0.1"}, "context-certificate")
        for name in ("kept", "KEPT", "%6bept", "kept/", "\uff4bept")
    ),
    ("t/free", {}, "granted"),
    ("t/nothing", {}, "granted"),
    ("t/cert", {}, "context-certificate"),
    ("t/cert", {"certificate_sha256": PRINT}, "granted"),
    ("t/cert", {"certificate_sha256": "cd" * 32}, "granted"),
    ("t/cert", {"certificate_sha256": "ef" * 32}, "context-certificate"),
    ("t/cert", {"certificate_sha256": ""}, "context-certificate"),
    ("t/net", {}, "context-network"),
    ("t/net", {"address": "10.255.255.255"}, "granted"),
    ("t/net", {"address": "11.0.0.0"}, "context-network"),
    ("t/net", {"address": "192.0.2.7"}, "granted"),
    ("t/net", {"address": "192.0.2.8"}, "context-network"),
    ("t/net", {"address": "::ffff:10.0.0.1"}, "granted"),
    ("t/net", {"address": "::ffff:11.0.0.1"}, "context-network"),
    ("t/net", {"address": "::10.0.0.1"}, "context-network"),
    ("t/net", {"address": "2001:db8::1"}, "granted"),
    ("t/net", {"address": "2001:db8::1%eth0"}, "granted"),
    ("t/net", {"address": "2001:db9::1"}, "context-network"),
    ("t/net", {"address": "010.0.0.1"}, "context-network"),
    ("t/net", {"address": ""}, "context-network"),
    ("t/net", {"address": "unix"}, "context-network"),
    ("t/window", {}, "granted"),
    ("t/window", {"now": "2026-11-23T07:59:59+00:00"}, "context-window"),
    ("t/window", {"now": "2026-11-23T08:00:00+00:00"}, "granted"),
    ("t/window", {"now": "2026-11-23T15:59:59+00:00"}, "granted"),
    ("t/window", {"now": "2026-11-23T16:00:00+00:00"}, "context-window"),
    ("t/window", {"now": "2026-11-24T12:00:00+00:00"}, "context-window"),
    ("t/window", {"now": "2026-11-23T21:00:00+09:00"}, "granted"),
    ("t/all", {"certificate_sha256": PRINT, "address": "10.0.0.1", "now": "2026-11-24T11:59:00+00:00"}, "granted"),
    ("t/also", {"certificate_sha256": PRINT, "address": "10.0.0.1", "now": "2026-11-24T11:59:00+00:00"}, "granted"),
    ("t/all", {"address": "10.0.0.1", "now": "2026-11-24T11:59:00+00:00"}, "context-certificate"),
    ("t/all", {"certificate_sha256": PRINT, "now": "2026-11-24T11:59:00+00:00"}, "context-network"),
    ("t/all", {"certificate_sha256": PRINT, "address": "10.0.0.1"}, "context-window"),
    ("t/all", {"now": "2026-11-24T13:00:00+00:00"}, "context-certificate"),
    ("t/two", {"address": "10.1.0.1"}, "granted"),
    ("t/two", {"address": "10.2.0.1"}, "context-network"),
    ("t/twx", {"address": "10.1.0.1"}, "granted"),
    ("t/filtered", {"address": "10.0.0.1"}, "argument-not-allowed"),
    ("t/filtered", {}, "argument-not-allowed"),
    ("t/prompt:p", {"address": "10.0.0.1"}, "granted"),
    ("t/prompt:p", {}, "context-network"),
    ("t/complete:prompt:p", {"address": "10.0.0.1"}, "granted"),
    ("t/complete:prompt:p", {}, "context-network"),
    ("t/method:tools/list", {}, "lifecycle"),
]


@pytest.mark.parametrize(("what", "changes", "rule"), RULE_CASES)
def test_context_rules(what: str, changes: dict[str, Any], rule: str) -> None:
    policy = Policy(RULES)
    decision = policy.decide("c", call(what, {}), context(**changes))
    assert (decision.rule, decision.allowed) == (rule, rule in ("granted", "lifecycle"))
    assert policy.decide("c", call(what, {}), context(**changes), explain=True).rule == rule


@pytest.mark.parametrize("uri", ["file:///k/a", "FILE:///k/a", "file:///%6b/a", "file:////k//a", "file:///k%2fa"])
def test_the_class_of_a_uri_is_that_of_every_way_to_write_it(uri: str) -> None:
    kept = {"resource:file:///k/*": "write"}
    reader = {"allow_resources": ["t/*"], "allow_methods": ["read"]}
    policy = Policy(deployment({"t": kept}, {"c": reader, "w": {**reader, "allow_methods": ["write"]}}))
    assert policy.decide("c", call(f"t/resource:{uri}"), CONTEXT).rule == "method-class-not-granted"
    assert policy.decide("w", call(f"t/resource:{uri}"), CONTEXT).rule == "granted"
    assert policy.decide("c", call("t/resource:file:///other/a"), CONTEXT).rule == "granted"


def test_a_rule_grants_nothing() -> None:
    policy = Policy(deployment({"t": {}}, {"c": {}}, rules=[{"resources": ["t/*"], "networks": ["0.0.0.0/0"]}]))
    assert policy.decide("c", call("t/x"), CONTEXT).rule == "resource-not-granted"


def test_the_tables_hold_what_was_promised() -> None:
    assert len(GRANT_ROWS) + len(ACCESS_ROWS) + len(FILTER_ROWS) + len(RULE_CASES) >= 300


# --- lists, server requests, explanations, memory ---


@pytest.mark.parametrize(
    ("client", "kind", "name", "seen"),
    [
        ("reader", "tool", "get_ticket", True),
        ("reader", "tool", "get_secret", False),
        ("reader", "tool", "delete_old", False),
        ("reader", "resource", "get_ticket", False),
        ("reader", "completion", "prompt:x", False),
        ("reader", "tool", "", False),
        ("nothing", "tool", "get_ticket", False),
        ("stranger", "tool", "get_ticket", False),
        ("admin", "tool", "anything", True),
        ("admin", "tool", "resource:x", False),
        ("admin", "resource", "x:y", True),
        ("admin", "prompt", "p", True),
        ("admin", "method", "ping", False),
    ],
)
def test_visible(client: str, kind: str, name: str, seen: bool) -> None:
    assert Policy(GRANTS).visible(client, "tickets", kind, name) is seen
    assert Policy(GRANTS).visible(client, "nowhere", kind, name) is False


def test_filters_and_rules_hide_nothing() -> None:
    assert Policy(FILTERS).visible("web", "t", "tool", "get")
    assert Policy(RULES).visible("c", "t", "tool", "cert")


def test_server_requests_are_refused_unless_granted() -> None:
    policy = Policy(
        deployment(
            {"t": {}},
            {"none": {}, "own": {"allow_server_requests": ["sampling"]}, "role": {"roles": ["asker"]}},
            {"asker": {"allow_server_requests": ["elicitation", "roots"]}},
        )
    )
    asked = ("sampling/createMessage", "elicitation/create", "roots/list", "ping", "", "sampling")

    def answers(client: str, upstream: str = "t") -> list[bool]:
        return [policy.allows_server_request(client, upstream, method) for method in asked]

    assert answers("none") == answers("stranger") == answers("own", "nowhere") == [False] * 6
    assert answers("own") == [True, False, False, False, False, False]
    assert answers("role") == [False, True, True, False, False, False]


def test_an_explanation_shows_every_step_even_behind_a_refusal() -> None:
    decision = Policy(RULES).decide("c", call("t/filtered", {}), CONTEXT, explain=True)
    texts = "\n".join(step.text for step in decision.steps)
    assert "access glob '*'" in texts
    assert "client c: 't/*' matches and its methods hold read" in texts
    assert "filter 't/filtered' on the argument a does not hold" in texts
    assert "rules[6]: the network is not as required" in texts


def test_a_reason_repeats_nothing_of_the_call() -> None:
    for client, what, arguments, _ in FILTER_ROWS:
        decision = Policy(FILTERS).decide(client, call(what, arguments), CONTEXT)
        assert "WEB" not in decision.reason and "/data" not in decision.reason


def test_what_is_remembered_is_bounded() -> None:
    policy = Policy(GRANTS)
    view = policy._views["admin"]
    for number in range(5000):
        assert policy.decide("admin", Call("shell", "tool", f"run_{number}"), CONTEXT).allowed
    assert len(view.standings) <= 2048
    remembered = len(view.standings)
    policy.decide("admin", Call("shell", "tool", "x" * 10_000), CONTEXT)
    assert len(view.standings) == remembered


@pytest.mark.parametrize(
    "wrong",
    [
        {"clients": {"c": {"roles": ["gone"]}}},
        {"rules": [{"resources": ["t/*"], "window": "Sun 02:00-04:00"}]},
        {"rules": [{"resources": ["t/*"], "networks": ["10.0.0.1/8"]}]},
        {"clients": {"c": {"resource_filters": {"t/*": {"a": {"regex": "(a"}}}}}},
        {"clients": {"c": {"resource_filters": {"t/*": {"a": {"regex": "(a)\\1"}}}}}},
        {"clients": {"c": {"resource_filters": {"t/*": {"a": {}}}}}},
        {"clients": {"c": {"resource_filters": {"t/*": {"a": {"regex": "a", "min": 1}}}}}},
    ],
)
def test_what_cannot_be_compiled_is_a_configuration_error(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Policy(deployment({"t": {}}, **wrong))
