/* egress: what a guest may connect to, in whatever spelling it names that. */
#include "egress/policy.h"
#include "egress/upstream.h"

#include "unit.h"

static struct error e;

static enum address_host kind_of(const char *host)
{
    struct address a;
    char name[ADDRESS_NAME_MAX];

    return address_read(host, &a, name);
}

/* Spellings of one address, as printed; NULL: it is none that anybody may name. */
static const struct {
    const char *host, *address;
} spellings[] = {
    {"127.0.0.1", "127.0.0.1"},
    {"127.0.0.1.", "127.0.0.1"},
    {"127.1", "127.0.0.1"},
    {"127.0.1", "127.0.0.1"},
    {"2130706433", "127.0.0.1"},
    {"2130706433.", "127.0.0.1"},
    {"0x7f000001", "127.0.0.1"},
    {"0X7F.0.0.1", "127.0.0.1"},
    {"0x7f.1", "127.0.0.1"},
    {"0177.0.0.1", "127.0.0.1"},
    {"017700000001", "127.0.0.1"},
    {"00000177.0.0.01", "127.0.0.1"},
    {"0", "0.0.0.0"},
    {"0x", NULL},
    {"::1", "::1"},
    {"0:0:0:0:0:0:0:1", "::1"},
    {"::ffff:127.0.0.1", "::ffff:127.0.0.1"},
    {"::ffff:7f00:1", "::ffff:127.0.0.1"},
    {"::127.0.0.1", "::127.0.0.1"},
    {"64:ff9b::7f00:1", "64:ff9b::7f00:1"},
    {"fe80::1%eth0", NULL},
    {"[::1]", NULL},
    {":::", NULL},
    {"127.0.0.256", NULL},
    {"1.2.3.4.5", NULL},
    {"256.1.1.1", NULL},
    {"1.2.3.", "1.2.0.3"},
    {"999999999999", NULL},
    {"example.1", NULL},
    {"example.0x7f", NULL},
    {"127.0.0.1 ", NULL},
    {"127.0.0.1\n", NULL},
    {"127.0.0.1..", NULL},
    {"-1", NULL},
    {"", NULL},
    {".", NULL},
    {"..", NULL},
};

START_TEST(reads_every_spelling_of_an_address)
{
    struct address a;
    char name[ADDRESS_NAME_MAX], text[ADDRESS_TEXT_MAX];
    enum address_host kind = address_read(spellings[_i].host, &a, name);

    if (!spellings[_i].address) {
        ck_assert_msg(kind == ADDRESS_MALFORMED, "%s", spellings[_i].host);
        return;
    }
    ck_assert_msg(kind == ADDRESS_LITERAL, "%s", spellings[_i].host);
    address_print(&a, text);
    ck_assert_str_eq(text, spellings[_i].address);
}
END_TEST

START_TEST(makes_names_plain)
{
    struct address a;
    char name[ADDRESS_NAME_MAX], label[80], host[300] = "";

    ck_assert_int_eq(address_read("WWW.Example.ORG.", &a, name), ADDRESS_NAME);
    ck_assert_str_eq(name, "www.example.org");
    ck_assert_int_eq(kind_of("_sip._tcp.example.org"), ADDRESS_NAME);
    ck_assert_int_eq(kind_of("localhost"), ADDRESS_NAME);
    ck_assert_int_eq(kind_of("1.example.org"), ADDRESS_NAME);
    const char *const bad[] = {
        "a..b", ".a", "-a.org", "a-.org", "a b", "a/b", "a@b", "a\\b", "ex\xc3\xa4mple.org", "a%2e"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(kind_of(bad[i]) == ADDRESS_MALFORMED, "%s", bad[i]);
    memset(label, 'a', sizeof(label));
    label[63] = '\0';
    ck_assert_int_eq(kind_of(label), ADDRESS_NAME);
    label[63] = 'a';
    label[64] = '\0';
    ck_assert_int_eq(kind_of(label), ADDRESS_MALFORMED);
    for (int i = 0; i < 130; i++)
        strcat(host, "a.");
    ck_assert_int_eq(kind_of(host), ADDRESS_MALFORMED);
}
END_TEST

/* Addresses that are none of the Internet. */
static const char *const specials[] = {
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
};

static const char *const publics[] = {
    "1.1.1.1",        "8.8.8.8",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
    "100.128.0.0",    "126.255.255.255", "128.0.0.0",       "169.253.255.255", "169.255.0.0",
    "172.15.255.255", "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0",      "223.255.255.255", "2606:4700::1111", "2001:200::1",
    "2a00::1",        "3ffe::1",
};

START_TEST(knows_what_is_not_the_internet)
{
    struct address a;

    ck_assert(address_parse(specials[_i], &a));
    ck_assert_msg(address_special(&a) != NULL, "%s", specials[_i]);
}
END_TEST

START_TEST(knows_the_internet)
{
    struct address a;

    ck_assert(address_parse(publics[_i], &a));
    ck_assert_msg(address_special(&a) == NULL, "%s is %s", publics[_i], address_special(&a));
}
END_TEST

static struct policy policy_of(const char *const *rules)
{
    struct policy p = {0};

    for (; *rules; rules++)
        ck_assert_msg(policy_add(&p, *rules, &e) == 0, "%s", e.text);
    return p;
}

START_TEST(allows_names)
{
    struct policy p = policy_of((const char *const[]){"Example.org", "*.pypi.org", "db.example.net:5432",
                                                      "w.org:*", "p.org:80,8000-8002", NULL});
    const struct {
        const char *name;
        uint16_t port;
        bool allowed;
    } all[] = {{"example.org", 80, true},
               {"example.org", 443, true},
               {"example.org", 22, false},
               {"www.example.org", 443, false},
               {"notexample.org", 443, false},
               {"example.org.evil.net", 443, false},
               {"pypi.org", 443, false},
               {"files.pypi.org", 443, true},
               {"a.b.pypi.org", 443, true},
               {"evilpypi.org", 443, false},
               {"db.example.net", 443, false},
               {"db.example.net", 5432, true},
               {"w.org", 1, true},
               {"w.org", 65535, true},
               {"p.org", 8001, true},
               {"p.org", 8003, false},
               {"localhost", 80, false}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        ck_assert_msg(policy_has_name(&p, all[i].name, all[i].port) == all[i].allowed, "%s:%u", all[i].name,
                      all[i].port);
    policy_done(&p);
}
END_TEST

/* What stands for the decision: + allowed, - no rule, ! special. */
static char ask(const struct policy *p, const char *address, uint16_t port, bool by_name, bool own)
{
    struct address a;
    const char *special;

    ck_assert(address_parse(address, &a));
    return policy_has_address(p, &a, port, by_name, own, &special) ? '+' : special ? '!' : '-';
}

START_TEST(allows_addresses)
{
    struct policy p = policy_of((const char *const[]){"10.1.0.0/16:8080", "8.8.8.8", "[2001:db8::]/32:443",
                                                      "fd00::7", "example.org", NULL});

    ck_assert_int_eq(ask(&p, "10.1.2.3", 8080, false, false), '+');
    ck_assert_int_eq(ask(&p, "10.1.2.3", 80, false, false), '-');
    ck_assert_int_eq(ask(&p, "10.2.0.1", 8080, true, false), '!');
    ck_assert_int_eq(ask(&p, "8.8.8.8", 443, false, false), '+');
    ck_assert_int_eq(ask(&p, "8.8.8.9", 443, false, false), '-');
    ck_assert_int_eq(ask(&p, "8.8.8.9", 443, true, false), '+');   /* an allowed name led there */
    ck_assert_int_eq(ask(&p, "127.0.0.1", 443, true, false), '!'); /* and there */
    ck_assert_int_eq(ask(&p, "8.8.8.9", 443, true, true), '!');    /* an interface of this machine has it */
    ck_assert_int_eq(ask(&p, "::ffff:8.8.8.8", 443, true, false), '!');
    ck_assert_int_eq(ask(&p, "2001:db8::5", 443, false, false), '+');
    ck_assert_int_eq(ask(&p, "fd00::7", 80, false, false), '+');
    ck_assert_int_eq(ask(&p, "fd00::8", 80, true, false), '!');
    policy_done(&p);
}
END_TEST

START_TEST(star_is_the_internet_and_no_more)
{
    struct policy p = policy_of((const char *const[]){"*", NULL}), none = {0};

    ck_assert(policy_has_name(&p, "anything.example", 443));
    ck_assert_int_eq(ask(&p, "1.1.1.1", 443, false, false), '+');
    ck_assert_int_eq(ask(&p, "1.1.1.1", 22, false, false), '-');
    ck_assert_int_eq(ask(&p, "10.0.0.1", 443, false, false), '!');
    ck_assert_int_eq(ask(&p, "169.254.169.254", 80, false, false), '!');
    ck_assert_int_eq(ask(&none, "1.1.1.1", 443, false, false), '-');
    ck_assert(!policy_has_name(&none, "example.org", 443));
    policy_done(&p);
}
END_TEST

static const char *const bad_rules[] = {
    "",
    ":80",
    "example.org:",
    "example.org:0",
    "example.org:65536",
    "example.org:80-70",
    "example.org:http",
    "a b",
    "http://example.org",
    "example.org/path",
    "*example.org",
    "*.*.org",
    "**",
    "10.0.0.0/33",
    "10.0.0/8",
    "127.1",
    "0x7f000001",
    "::1:443/200",
    "[::1",
    "[::1]x",
    "::1/129",
    "a..b",
    "*.",
    "example.org:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
    "*.10.0.0.1",
    "-x.org",
    "ex\xc3\xa4mple.org",
};

START_TEST(refuses_what_is_no_rule)
{
    struct policy p = {0};

    e = (struct error){0};
    ck_assert_msg(policy_add(&p, bad_rules[_i], &e) == -1, "%s", bad_rules[_i]);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    ck_assert_uint_eq(p.count, 0);
}
END_TEST

START_TEST(has_bounds)
{
    struct policy p = {0};

    for (int i = 0; i < POLICY_RULES_MAX; i++)
        ck_assert_int_eq(policy_add(&p, "a.org", &e), 0);
    ck_assert_int_eq(policy_add(&p, "a.org", &e), -1);
    policy_done(&p);
}
END_TEST

START_TEST(finds_the_machines_own_proxy)
{
    struct upstream u;

    unsetenv("no_proxy");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    setenv("https_proxy", "http://user:p%40ss@proxy.example:3129/", 1);
    ck_assert_int_eq(upstream_find("example.org", 443, &u, &e), 1);
    ck_assert_str_eq(u.host, "proxy.example");
    ck_assert_uint_eq(u.port, 3129);
    ck_assert_str_eq(u.login, "user:p@ss");
    ck_assert_int_eq(upstream_find("example.org", 80, &u, &e), 0);
    setenv("http_proxy", "[2001:db8::1]:8080", 1);
    ck_assert_int_eq(upstream_find("example.org", 80, &u, &e), 1);
    ck_assert_str_eq(u.host, "2001:db8::1");
    setenv("no_proxy", "example.org, .local,10.0.0.0/8", 1);
    ck_assert_int_eq(upstream_find("example.org", 443, &u, &e), 0);
    ck_assert_int_eq(upstream_find("www.example.org", 443, &u, &e), 0);
    ck_assert_int_eq(upstream_find("badexample.org", 443, &u, &e), 1);
    ck_assert_int_eq(upstream_find("a.local", 443, &u, &e), 0);
    ck_assert_int_eq(upstream_find("10.2.3.4", 443, &u, &e), 0);
    setenv("https_proxy", "socks5://proxy:1080", 1);
    ck_assert_int_eq(upstream_find("other.org", 443, &u, &e), -1);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("egress_policy");

    unit_add_loop(&u, reads_every_spelling_of_an_address, sizeof(spellings) / sizeof(spellings[0]));
    unit_add(&u, makes_names_plain);
    unit_add_loop(&u, knows_what_is_not_the_internet, sizeof(specials) / sizeof(specials[0]));
    unit_add_loop(&u, knows_the_internet, sizeof(publics) / sizeof(publics[0]));
    unit_add(&u, allows_names);
    unit_add(&u, allows_addresses);
    unit_add(&u, star_is_the_internet_and_no_more);
    unit_add_loop(&u, refuses_what_is_no_rule, sizeof(bad_rules) / sizeof(bad_rules[0]));
    unit_add(&u, has_bounds);
    unit_add(&u, finds_the_machines_own_proxy);
    return unit_end(&u);
}
