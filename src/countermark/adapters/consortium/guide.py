"""README.txt of a new chain: what each file is and what to do next, in English and Chinese."""

from __future__ import annotations

from countermark.adapters.consortium.plan import Plan

_BESU = """\
A QBFT CHAIN ON HYPERLEDGER BESU
Chain id {chain_id}, {validators} validators, a block every {seconds} s, gas is free. {tolerance_en}
Made by countermark. Nobody has started Besu with these files yet: check them against your version.

One folder for each validator, nodeN. Hand every organization its own folder and no other one.
  genesis.json             the first block and the rules of the chain; the same everywhere, never changed
  key                      the node's private key: keep it secret, back it up; missing where the organization made it
                           itself and gave its public key, then put yours there (0x and 64 hex digits, mode 0600)
  key.pub                  its public key, which is the node's id
  config.toml              settings of this node
  static-nodes.json        enode addresses of the others, which it connects to
  permissions_config.toml  who may connect (nodes-allowlist) and whose transactions are taken (accounts-allowlist)
  start.sh                 starts the node; needs Besu 26.9 or later and Java 21
  data/                    appears at the first start: blocks and state

1. Start every node: ./start.sh. Blocks come as soon as more than two thirds of the validators run.
2. The JSON-RPC answers on this machine alone (rpc-http-host, host-allowlist in config.toml). Before you open it to
   others put authentication or a proxy in front: it can change permissions and propose validators.
3. countermark init --ledger http://127.0.0.1:8545 --confirmations 0 --ledger-key KEY
   KEY is the file of an account named here: {accounts}
4. {permissions_en}
More: docs/guides/consortium.md of countermark.

------------------------------------------------------------------------------------------------------------------------

HYPERLEDGER BESU 上的 QBFT 链
链编号 {chain_id}，{validators} 个验证者，每 {seconds} 秒一个区块，不收燃料费。{tolerance_zh}
由 countermark 生成。尚无人用这些文件启动过 Besu：请按您的版本核对。

每个验证者一个文件夹 nodeN。只把各机构自己的文件夹交给它。
  genesis.json             创世区块和链的规则；各处相同，永不更改
  key                      节点私钥：须保密并备份；机构自行生成并提供公钥的，此处没有该文件，
                           请放入自己的私钥（0x 加 64 位十六进制，权限 0600）
  key.pub                  节点公钥，即节点编号
  config.toml              本节点的设置
  static-nodes.json        其他节点的 enode 地址，本节点与之连接
  permissions_config.toml  谁可以连接（nodes-allowlist），接受谁的交易（accounts-allowlist）
  start.sh                 启动节点；需要 Besu 26.9 或更新版本及 Java 21
  data/                    首次启动时产生：区块和状态

1. 启动每个节点：./start.sh。超过三分之二的验证者运行后即开始出块。
2. JSON-RPC 只在本机应答（config.toml 中的 rpc-http-host、host-allowlist）。对外开放前，
   请在前面设置身份验证或代理：该接口可以更改许可并提议验证者。
3. countermark init --ledger http://127.0.0.1:8545 --confirmations 0 --ledger-key KEY
   KEY 是此处所列账户的密钥文件：{accounts}
4. {permissions_zh}
更多内容见 countermark 的 docs/guides/consortium.md。
"""

_FISCO = """\
A PBFT CHAIN ON FISCO BCOS
Web3 chain id {chain_id}, {validators} validators, gas is free, no SM mode. {tolerance_en}
Made by countermark. Nobody has started FISCO BCOS with these files yet: check them against your version.

One folder for each validator, nodeN. Hand every organization its own folder and no other one.
  config.genesis    the first block and the rules of the chain; the same everywhere, never changed
  config.ini        settings of this node; [web3_rpc] is Ethereum's JSON-RPC, which countermark uses
  nodes.json        addresses of all nodes
  conf/node.pem     the node's private key: keep it secret, back it up; missing where the organization made it itself
                    and gave its public key, then put yours there (PEM, secp256k1, mode 0600)
  conf/node.nodeid  its public key, which is the node's id
  conf/ca.crt, conf/ssl.crt, conf/ssl.key   TLS between the nodes, good for ten years
  start.sh          starts the node; needs fisco-bcos 3.16.4 or later
ca/                 the authority behind the TLS certificates: ca.key lets new nodes in, keep it apart from every node
sdk/                TLS certificate of the console

1. Start every node: ./start.sh.
2. [web3_rpc] and [rpc] answer on this machine alone (listen_ip). Put a proxy in front before you open them to others.
3. countermark init --ledger http://127.0.0.1:8545 --confirmations 0 --ledger-key KEY
   KEY is the file of an account named here: {accounts}
4. The chain's own settings and validators are changed by its governance committee, which begins as the first of these
   accounts (auth_admin_account); it uses the console of FISCO BCOS.
More: docs/guides/consortium.md of countermark.

------------------------------------------------------------------------------------------------------------------------

FISCO BCOS 上的 PBFT 链
Web3 链编号 {chain_id}，{validators} 个验证者，不收燃料费，非国密模式。{tolerance_zh}
由 countermark 生成。尚无人用这些文件启动过 FISCO BCOS：请按您的版本核对。

每个验证者一个文件夹 nodeN。只把各机构自己的文件夹交给它。
  config.genesis    创世区块和链的规则；各处相同，永不更改
  config.ini        本节点的设置；[web3_rpc] 是 countermark 使用的以太坊 JSON-RPC
  nodes.json        所有节点的地址
  conf/node.pem     节点私钥：须保密并备份；机构自行生成并提供公钥的，此处没有该文件，
                    请放入自己的私钥（PEM，secp256k1，权限 0600）
  conf/node.nodeid  节点公钥，即节点编号
  conf/ca.crt、conf/ssl.crt、conf/ssl.key   节点之间的 TLS，有效期十年
  start.sh          启动节点；需要 fisco-bcos 3.16.4 或更新版本
ca/                 TLS 证书的签发机构：ca.key 可以接纳新节点，须与各节点分开保管
sdk/                控制台的 TLS 证书

1. 启动每个节点：./start.sh。
2. [web3_rpc] 和 [rpc] 只在本机应答（listen_ip）。对外开放前，请在前面设置代理。
3. countermark init --ledger http://127.0.0.1:8545 --confirmations 0 --ledger-key KEY
   KEY 是此处所列账户的密钥文件：{accounts}
4. 链自身的设置和验证者由治理委员会更改，其最初成员是上述第一个账户（auth_admin_account）；
   委员会使用 FISCO BCOS 的控制台。
更多内容见 countermark 的 docs/guides/consortium.md。
"""


def besu_readme(plan: Plan) -> str:
    """Return the README of a Besu chain."""
    return _BESU.format(**_words(plan))


def fisco_readme(plan: Plan) -> str:
    """Return the README of a FISCO BCOS chain."""
    return _FISCO.format(**_words(plan))


def _words(plan: Plan) -> dict[str, object]:
    count = plan.tolerates
    return {
        "chain_id": plan.chain_id,
        "validators": len(plan.validators),
        "seconds": plan.block_seconds,
        "accounts": ", ".join(f"0x{account.hex()}" for account in plan.accounts) or "-",
        "tolerance_en": f"It goes on while at most {count} of them fail or lie."
        if count
        else "It tolerates no failure.",
        "tolerance_zh": f"其中至多 {count} 个失效或作恶时链仍能继续。" if count else "不能容忍任何一个失效。",
        "permissions_en": _GATED_EN if plan.accounts else _OPEN_EN,
        "permissions_zh": _GATED_ZH if plan.accounts else _OPEN_ZH,
    }


_GATED_EN = """\
Every further account that sends, above all those of the parties that an office admits, has to be added on every
   node: perm_addAccountsToAllowlist, or edit permissions_config.toml and call perm_reloadPermissionsFromFile."""
_GATED_ZH = """\
此外每个要发送交易的账户（主要是登记机构所接纳当事方的账户）都须在每个节点上加入：
   perm_addAccountsToAllowlist，或编辑 permissions_config.toml 后调用 perm_reloadPermissionsFromFile。"""
_OPEN_EN = """\
No account was named, so every account may send; the contracts refuse whoever is no member. To admit accounts one
   by one, list them in permissions_config.toml and set permissions-accounts-config-file-enabled=true."""
_OPEN_ZH = """\
未指定账户，因此任何账户都可发送交易；非成员由合约拒绝。如需逐个许可账户，
   请在 permissions_config.toml 中列出并设 permissions-accounts-config-file-enabled=true。"""
