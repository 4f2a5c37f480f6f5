#include "service/session_network.h"

#include <stdlib.h>

#define BEGIN_MS 30000

int session_network_begin(struct session_network *n, struct lease *l, struct mux *m, const char *const *rules,
                          const char *const *env, struct error *e)
{
    const struct run_site site = lease_site(l);
    int64_t deadline = deadline_in_ms(BEGIN_MS);

    if (!rules || !rules[0])
        return 0;
    n->site = (struct network_site){.guest = &l->guest,
                                    .vm = l->life.id,
                                    .trace_id = l->call->trace_id,
                                    .source = site.network,
                                    .context = site.context};
    n->env = network_env(env);
    n->network = network_open(&n->site, rules, NULL, deadline, e);
    if (!n->network)
        return -1;
    mux_add(m, network_take_fd(n->network), false);
    while (!network_is_told(n->network))
        if (deadline_passed(deadline) || mux_step(m, network_told_fd(n->network), deadline, e) < 0)
            return e->kind ? -1 : error_set(e, ERROR_TIMEOUT, "the guest's network was not ready in time");
    return network_check_ready(n->network, e);
}

void session_network_end(struct session_network *n)
{
    network_close(n->network);
    n->network = NULL;
}

void session_network_done(struct session_network *n)
{
    free(n->env);
    n->env = NULL;
}
